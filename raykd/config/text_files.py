"""Format and columns of data files, which all kinds of jobs share."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from raykd.config.file_formats import FormatName
from raykd.config.input_schema import parse_items
from raykd.config.section import Section


class TextFilesConfig(Section):
    """The format of a job's files, and the columns of their texts."""

    column_fields: ClassVar[tuple[str, ...]] = ("first_sequence", "second_sequence", "label")
    """Fields that name a column."""

    format: FormatName | None = None
    """Format of all files: tsv, csv, jsonl, parquet or arrow; null goes by the names of the files (.tsv, .csv, .jsonl, .ndjson,
    .parquet, .arrow, .feather; other names are TSV)."""
    delimiter: str = Field(",", min_length=1, max_length=1)
    """Character between the cells of CSV files."""
    input_schema: str | None = None
    """Columns in file order, `name:type:length` joined by commas; type is str, int or float (`sent:str:1,label:str:1`). A row
    has exactly these cells; others are rejected. TSV files need it. null finds the columns by name: in the header of CSV
    files, which is then not skipped by `skip_header`, and in JSONL, Parquet and Arrow files (`a.b` is field b of a)."""
    skip_header: bool = False
    """The first line of every file is a header."""
    first_sequence: str
    """Column that holds the text."""
    second_sequence: str | None = None
    """Column that holds the second text of a pair; null for single texts."""

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if self.delimiter in '"\r\n':
            raise ValueError(f"data.delimiter = {self.delimiter!r}: use a character other than quotes and line ends")
        columns = self._columns()
        for field in self.column_fields:
            name = getattr(self, field)
            if columns and name is not None and name not in columns:
                raise ValueError(f"data.{field} = {name!r} is not a column of data.input_schema ({', '.join(columns)})")
        return self

    def _columns(self) -> tuple[str, ...]:
        try:
            return self.columns
        except ValueError as error:
            raise ValueError(f"data.{error}") from None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of ``input_schema``; none without one."""
        return () if self.input_schema is None else tuple(item.name for item in parse_items(self.input_schema))
