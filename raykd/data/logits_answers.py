"""Import of a teacher's answers of any kind, joined to the training rows by position or by an id column."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raykd.data.answer_files import Answer, key_text
from raykd.data.answer_values import AnswerValues
from raykd.data.logits_tsv import SourceLines, name_files
from raykd.data.side_tables import ROW_ID, SideTable, commit, write_logits
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError

COLUMN = "logits"
SHOWN_IDS = 3


@dataclass(frozen=True)
class IdJoin:
    """A join by id: the ids of all source rows, and the treatment of ids that only one side has."""

    key: str
    """Column of the ids."""
    source_rows: Mapping[str, int]
    """Number of the source row of each id, over all files, from 0."""
    allow_missing: bool = False
    """Give rows without an answer the same probability for every label, instead of raising an error."""
    allow_unknown: bool = False
    """Leave out answers of ids that no row has, instead of raising an error."""


@dataclass(frozen=True)
class JoinCounts:
    """Outcome of a join."""

    answers: int
    """Answers of the file."""
    missing: int = 0
    """Training rows without an answer."""
    unknown: int = 0
    """Answers whose id no row of the training files has."""

    @property
    def summary(self) -> str:
        """The counts in words."""
        extra = [f"{self.missing:,} training rows without one (uniform)"] * bool(self.missing)
        extra += [f"{self.unknown:,} of unknown ids (ignored)"] * bool(self.unknown)
        return ", ".join([f"{self.answers:,} answers", *extra])


def read_ids(rows: TokenisedSet, key: str) -> dict[str, int]:
    """The number of the source row of each id in the column ``key`` of ``rows``. Raises DataError for a repeated id."""
    lines, found = SourceLines(rows), dict[str, int]()
    for group in range(len(rows.group_rows)):
        table = rows.read_group(group, [*ROW_ID, key])
        for value, number in zip(table[key].to_pylist(), lines.of(table).tolist(), strict=True):
            text = key_text(value)
            if text in found:
                raise DataError(f"the id {text!r} stands twice in column {key!r} of the training files; give each row its own")
            found[text] = number
    return found


def import_answers(
    answers: Iterator[Answer], values: AnswerValues, prepared: TokenisedSet, *, path: str, out: str, join: IdJoin | None = None
) -> tuple[SideTable, JoinCounts]:
    """Convert the answers of the file ``path`` into a side table of logits at ``out``; None as ``join`` joins by position.

    By position memory holds one row group, by id the logits of all source rows.
    Raises DataError with file and row: an answer that ``values`` refuses, another number of answers than source rows; with
    their counts: ids that stand twice, and ids that one side lacks, unless they are allowed.
    """
    source = (
        _PositionedLogits(answers, values, prepared, path)
        if join is None
        else _JoinedLogits(answers, values, prepared, path, join)
    )
    parts = write_logits(out, prepared, COLUMN, source.take)
    counts = source.finish()
    provenance = {"kind": values.kind, "path": path, "counts": asdict(counts)}
    return commit(out, prepared, parts, [COLUMN], provenance), counts


def _logits(answer: Answer, values: AnswerValues) -> npt.NDArray[np.float64]:
    try:
        return values.logits(answer.value)
    except DataError as error:
        raise DataError(f"{answer.where}: {error}") from None


class _PositionedLogits:
    """Answers in the order of the source rows."""

    def __init__(self, answers: Iterator[Answer], values: AnswerValues, prepared: TokenisedSet, path: str) -> None:
        self._answers, self._values, self._prepared, self._path = answers, values, prepared, path
        self._lines, self._read = SourceLines(prepared), 0

    def take(self, names: pa.Table) -> npt.NDArray[np.float32]:
        """Logits ``[n, C]`` of the rows of a group."""
        logits = np.empty((len(names), len(self._values.labels)), np.float32)
        for position, number in enumerate(self._lines.of(names).tolist()):
            logits[position] = _logits(self._answer_of(number), self._values)
        return logits

    def _answer_of(self, number: int) -> Answer:
        """The answer of a source row; those before it are of other splits or of rejected rows."""
        for answer in self._answers:
            self._read += 1
            if self._read > number:
                return answer
        raise self._wrong_number(self._read)

    def finish(self) -> JoinCounts:
        """Read to the end. Raises DataError for another number of answers than source rows."""
        self._read += sum(1 for _ in self._answers)
        if self._read != self._lines.total:
            raise self._wrong_number(self._read)
        return JoinCounts(self._read)

    def _wrong_number(self, found: int) -> DataError:
        return DataError(
            f"{self._path} has {found} rows, but {name_files(self._prepared)} {self._lines.total} rows; row i belongs to row "
            "i, so give the answers of these files, or join by an id column (logits.key)"
        )


class _JoinedLogits:
    """Answers joined by id."""

    def __init__(
        self, answers: Iterator[Answer], values: AnswerValues, prepared: TokenisedSet, path: str, join: IdJoin
    ) -> None:
        self._path, self._join, self._lines = path, join, SourceLines(prepared)
        self._logits = np.full((self._lines.total, len(values.labels)), np.nan, np.float32)
        self._answers, self._missing, unknown, repeated = 0, 0, list[str](), list[str]()
        seen: set[str] = set()
        for answer in answers:
            self._answers += 1
            key = str(answer.key)
            if key in seen:
                repeated.append(key)
            seen.add(key)
            number = join.source_rows.get(key)
            if number is None:
                unknown.append(key)
            else:
                self._logits[number] = _logits(answer, values)
        self._unknown = len(unknown)
        missing = self._missing_ids(prepared)
        self._check(repeated, "ids that stand twice", "give each once")
        if not join.allow_unknown:
            self._check(unknown, "ids of no row of the training files", "correct them, or set logits.unknown_ids: ignore")
        if not join.allow_missing:
            self._check(missing, "training rows without an answer", "add them, or set logits.missing_ids: uniform")

    def _check(self, ids: Sequence[str], problem: str, change: str) -> None:
        if ids:
            shown = ", ".join(map(repr, ids[:SHOWN_IDS])) + (", ..." if len(ids) > SHOWN_IDS else "")
            counts = f"{len(ids)} in {self._answers} answers"
            raise DataError(f"{self._path}, column {self._join.key!r}: {problem} ({counts}): {shown}; {change}")

    def _missing_ids(self, prepared: TokenisedSet) -> list[str]:
        """The ids of training rows without an answer, whose logits become equal for all labels."""
        uniform = -np.log(self._logits.shape[1])
        lacking: list[int] = []
        for group in range(len(prepared.group_rows)):
            numbers = self._lines.of(prepared.read_group(group, ROW_ID))
            empty = numbers[np.isnan(self._logits[numbers, 0])]
            self._logits[empty] = uniform
            lacking += empty.tolist()
        self._missing = len(lacking)
        if not lacking:
            return []
        ids = {number: key for key, number in self._join.source_rows.items()}
        return [ids[number] for number in lacking]

    def take(self, names: pa.Table) -> npt.NDArray[np.float32]:
        """Logits ``[n, C]`` of the rows of a group."""
        return np.asarray(self._logits[self._lines.of(names)])

    def finish(self) -> JoinCounts:
        """The counts of the join."""
        return JoinCounts(self._answers, self._missing, self._unknown)
