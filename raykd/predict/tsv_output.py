"""Logits as lines of text, in the form that EasyNLP writes its predictions."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from raykd.data import storage
from raykd.data.side_tables import SideTable, logits_numpy
from raykd.errors import DataError
from raykd.task_kinds import SINGLE_LABEL, TaskKind

PREDICTION_COLUMNS = ("predictions", "probabilities", "logits")


def predictions_tsv(
    table: SideTable,
    path: str,
    *,
    labels: Sequence[str],
    columns: Sequence[str] = PREDICTION_COLUMNS,
    kind: TaskKind = SINGLE_LABEL,
) -> None:
    """Write one line for each row, in the order of the input, without a header; columns are joined by tabs.

    ``predictions`` is the answer of a model of this ``kind``, such as the most probable label;
    ``probabilities`` and ``logits`` are numbers in the order of ``labels``, joined by commas, each
    in the shortest form that reads back as the same float32.
    Raises DataError for an unknown column or another number of labels.
    """
    unknown = sorted(set(columns) - set(PREDICTION_COLUMNS))
    if unknown or not columns:
        raise DataError(f"prediction columns {list(columns)}: allowed are {', '.join(PREDICTION_COLUMNS)}")
    with storage.open_output(path) as stream:
        for group in range(len(table.group_rows)):
            logits = logits_numpy(table.read_group(group, ["logits"])["logits"])
            if logits.shape[1] != len(labels):
                raise DataError(
                    f"{table.path} has {logits.shape[1]} logits a row, but {len(labels)} labels {list(labels)} are given"
                )
            stream.write("".join(_lines(logits, labels, columns, kind)).encode())


def _lines(logits: NDArray[np.float32], labels: Sequence[str], columns: Sequence[str], kind: TaskKind) -> Iterator[str]:
    texts = {
        "predictions": [kind.answer(row, labels) for row in logits],
        "probabilities": [",".join(map(str, row)) for row in kind.probabilities(logits).astype(np.float32)],
        "logits": [",".join(map(str, row)) for row in logits],
    }
    for row in zip(*(texts[column] for column in columns), strict=True):
        yield "\t".join(row) + "\n"
