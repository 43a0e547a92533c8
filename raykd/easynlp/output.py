"""EasyNLP's prediction file: the requested columns, then input columns, one line per row in input order."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raykd.data import storage
from raykd.data.readers import reader_of, scan
from raykd.data.schema import CellValue, InputSchema
from raykd.data.side_tables import SideTable, logits_numpy
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError
from raykd.task_kinds import SINGLE_LABEL, TaskKind

ID = "id"
RowName = tuple[int, int]
"""Position of the file, number of the row in it."""


class PredictionFormat:
    """Columns of a line and the format of each."""

    def __init__(
        self, labels: Sequence[str], columns: Sequence[str], append: Sequence[str], *, kind: TaskKind = SINGLE_LABEL
    ) -> None:
        self._labels, self._columns, self._append = tuple(labels), tuple(columns), tuple(append)
        self._kind = kind

    def probabilities(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """Of each label, ``[N, C]``: they sum to 1 unless a row may have any number of labels."""
        return self._kind.probabilities(logits).astype(np.float32)

    def reads_input(self, schema: InputSchema) -> bool:
        """True when a line contains input columns."""
        return bool(self._append) or (ID in self._columns and ID in schema.names)

    def line(self, address: str, record: Mapping[str, CellValue], logits: NDArray[Any], probabilities: NDArray[Any]) -> str:
        """One line, with its line end.

        ``address`` names the row among all rows, ``record`` holds its input columns; logits and probabilities are float32
        ``[C]`` in the order of the label ids.
        """
        cells = [self._cell(name, address, record, logits, probabilities) for name in self._columns]
        return "\t".join([*cells, *(str(record[name]) for name in self._append)]) + "\n"

    def _cell(
        self, name: str, address: str, record: Mapping[str, CellValue], logits: NDArray[Any], probabilities: NDArray[Any]
    ) -> str:
        if name == ID:
            # where EasyNLP draws a random one: the same command gives the same file
            return str(record[ID]) if ID in record else str(uuid.uuid5(uuid.NAMESPACE_URL, address))
        if name == "predictions":
            return self._kind.answer(logits, self._labels)
        if name == "output":
            return str(self._ranking(logits, probabilities))
        return ",".join(map(str, logits if name == "logits" else probabilities))

    def _ranking(self, logits: NDArray[Any], probabilities: NDArray[Any]) -> list[dict[str, Any]]:
        order = np.argsort(-logits, kind="stable")
        return [{"pred": self._labels[i], "prob": float(probabilities[i]), "logit": float(logits[i])} for i in order]


def write_predictions(
    path: str, form: PredictionFormat, prepared: TokenisedSet, side: SideTable, *, schema: str, skip_header: bool
) -> int:
    """Write the file atomically; returns its number of lines. Memory holds one row group.

    Raises DataError when the input changed since it was prepared, ResourceError when the file cannot be written.
    """
    parser = InputSchema.parse(schema, strict=False)
    records = _records(prepared, parser, skip_header) if form.reads_input(parser) else None
    written = 0
    with storage.open_output(path) as stream:
        for group in range(len(side.group_rows)):
            table = side.read_group(group)
            for line in _lines(form, prepared, table, records):
                stream.write(line.encode())
            written += len(table)
    return written


def _lines(
    form: PredictionFormat,
    prepared: TokenisedSet,
    table: pa.Table,
    records: Iterator[tuple[RowName, dict[str, CellValue]]] | None,
) -> Iterator[str]:
    logits = logits_numpy(table["logits"])
    probabilities = form.probabilities(logits)
    names = list(zip(table["shard"].to_pylist(), table["row"].to_pylist(), strict=True))
    for index, name in enumerate(names):
        source = prepared.sources[name[0]].path
        found, record = (name, {}) if records is None else next(records, (None, {}))
        if found != name:
            raise DataError(f"{source} changed while it was read; leave it alone and run again")
        yield form.line(f"{source}#{name[1]}", record, logits[index], probabilities[index])


def _records(prepared: TokenisedSet, parser: InputSchema, skip_header: bool) -> Iterator[tuple[RowName, dict[str, CellValue]]]:
    """Every input row, parsed, with its name."""
    for chunk in scan([source.path for source in prepared.sources], skip_header):
        reader = reader_of(chunk.path)
        for raw in reader.read(chunk, parser.names):
            yield (chunk.shard, raw.row), parser.parse_row(reader.cells(raw.data.decode(), parser.names))
