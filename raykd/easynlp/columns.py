"""Columns of ``--input_schema`` that belong to the data file, and the column of the logits file.

EasyNLP joins line i of the logits file to row i of the training file, so one schema describes both: the data's columns, then
those of the logits file.
"""

import gzip
from dataclasses import dataclass, replace
from typing import Any

from raykd.data import storage
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.schema import InputSchema
from raykd.errors import ConfigError, DataError
from raykd.task_kinds import SINGLE_LABEL, TaskKind

_BLOCK = 64 << 10


@dataclass(frozen=True)
class FileColumns:
    """Columns of a file by their meaning."""

    schema: str
    """``name:type:length`` joined by commas."""
    first_sequence: str
    second_sequence: str | None
    label: str | None
    """None reads rows without their labels."""
    labels: tuple[str, ...] | None
    skip_header: bool
    sequence_length: int
    kind: TaskKind = SINGLE_LABEL
    """Meaning of the label's cell."""

    def __post_init__(self) -> None:
        """Raises ConfigError when a column is not in the schema."""
        schema = InputSchema.parse(self.schema)
        for flag, name in (
            ("first_sequence", self.first_sequence),
            ("second_sequence", self.second_sequence),
            ("label_name", self.label),
        ):
            if name is not None and name not in schema.names:
                raise ConfigError(f"--{flag}={name} is not a column of --input_schema ({', '.join(schema.names)})")

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, in order."""
        return InputSchema.parse(self.schema).names

    def fitted(self, path: str, *, also: tuple[str, ...] = ()) -> "FileColumns":
        """Drop columns at the end of the schema that rows of ``path`` lack and nothing reads.

        ``also`` names columns that are read in addition to text and label.
        """
        read = [name for name in (self.first_sequence, self.second_sequence, self.label, *also) if name is not None]
        last_read = max(self.names.index(name) for name in read)
        return self.first(max(count_columns(path), last_read + 1))

    def first(self, count: int) -> "FileColumns":
        """Keep the first ``count`` columns of the schema. Raises ConfigError when text or label is not among them."""
        return replace(self, schema=",".join(self.schema.split(",")[:count]))

    def spec(self, path: str, tokenizer: str) -> PrepareSpec:
        """Specification for preparing the rows of ``path`` with a model's tokenizer."""
        codec = None if self.label is None or self.labels is None else self.kind.label_codec(self.labels)
        read_by = "--input_schema" if codec is None else "--input_schema and --label_enumerate_values"
        return PrepareSpec(
            files=(path,),
            input_schema=self.schema,
            first_sequence=self.first_sequence,
            second_sequence=self.second_sequence,
            label=self.label,
            codec=codec,
            skip_header=self.skip_header,
            sequence_length=self.sequence_length,
            max_rejected_rows=0,
            tokenizer=tokenizer,
            keep=None,
            strict_rows=False,
            remedy=f"correct the line, or {read_by}, by which it is read",
        )


@dataclass(frozen=True)
class LogitsFile:
    """A file with the teacher's logits of the training rows."""

    path: str
    name: str
    """Column of the schema that holds the logits."""

    def split(self, columns: FileColumns, data_path: str) -> tuple[FileColumns, int]:
        """The data file's own columns, and the number (from 0) of the logits' column in the logits file.

        Raises ConfigError when the schema has no such column, not behind the data's, or of another type or width.
        """
        labels = len(columns.labels or ())
        if self.name not in columns.names:
            raise ConfigError(
                f"logits_name={self.name} is not a column of --input_schema ({', '.join(columns.names)}); "
                f"add {self.name}:float:{labels} at its end"
            )
        column = InputSchema.parse(columns.schema).column(self.name)
        if column.type != "float" or (column.length and column.length != labels):
            raise ConfigError(
                f"--input_schema has {self.name}:{column.type}:{column.length}, but there are {labels} labels; "
                f"make it {self.name}:float:{labels}"
            )
        own, position = count_columns(data_path), columns.names.index(self.name)
        if position < own:
            raise ConfigError(
                f"--input_schema has {self.name} as column {position + 1}, but rows of {data_path} have {own} columns of their "
                f"own; list those first ({', '.join(columns.names)} is what was given)"
            )
        return columns.first(own), position - own


def check_file(path: str, option: str) -> None:
    """Raise DataError, which names the flag or key that gave ``path``, for a path or glob without a file."""
    try:
        storage.expand([path])
    except DataError as error:
        raise DataError(f"{option}: {error}") from None


def count_columns(path: str) -> int:
    """Columns of a file's first line; the first file's when ``path`` is a glob. Raises DataError when it is absent or empty."""
    path, line = storage.expand([path])[0], b""
    with storage.open_input(path) as stored:
        stream: Any = gzip.GzipFile(fileobj=stored, mode="rb") if path.endswith(".gz") else stored
        try:
            while b"\n" not in line and (block := stream.read(_BLOCK)):
                line += block
        except (gzip.BadGzipFile, EOFError) as error:
            raise DataError(f"{path} is not a whole gzip file ({error}); compress or copy it again") from None
    if not line:
        raise DataError(f"{path} is empty; give a file with rows")
    return line.split(b"\n", 1)[0].count(b"\t") + 1
