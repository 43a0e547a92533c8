"""Data files, their columns and their labels."""

from typing import Self

from pydantic import Field, model_validator

from raykd.config.base import Section
from raykd.config.paths import PathField


class DataConfig(Section):
    """TSV files and the meaning of their columns."""

    input_schema: str
    """Columns in file order, `name:type:length` joined by commas; type is str, int or float (`sent:str:1,label:str:1`)."""
    first_sequence: str
    """Column that holds the text."""
    second_sequence: str | None = None
    """Column that holds the second text of a pair; null for single texts."""
    label: str | None = None
    """Column that holds the label; null for unlabelled rows, which only alpha = 1 can train on."""
    multi_label: bool = False
    """Rows have any number of labels: the cell holds them joined by commas and may be empty."""
    labels: tuple[str, ...] | PathField = ("0", "1")
    """The label values in the order of their ids, or the path of a file with one value a line."""
    positive_label: str | None = None
    """Label whose F1 is reported for two classes; null is the second, as in EasyNLP."""
    train: tuple[PathField, ...]
    """Training files: paths or globs, plain or .gz, local or s3://, gs://, hdfs://."""
    validation: tuple[PathField, ...] | float = 0.05
    """Validation set, which selects the best model: files, or the fraction of `train` held out by a hash of the text."""
    test: tuple[PathField, ...] = ()
    """Test files, used for the report only."""
    skip_header: bool = False
    """The first line of every file is a header."""
    sequence_length: int = Field(128, ge=4)
    """Maximum tokens of a row, special tokens included; longer text is truncated, shorter text is not padded to it."""
    max_rejected_rows: int = Field(0, ge=0)
    """Rows that may fail to parse before the run stops; they are written to a separate file with the reason. 0 stops at the
    first."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.train:
            raise ValueError("data.train names no files; give at least one path or glob")
        if isinstance(self.validation, float) and not 0 < self.validation < 1:
            raise ValueError(f"data.validation = {self.validation}: a fraction lies between 0 and 1; or list files instead")
        if not isinstance(self.labels, str):
            if len(self.labels) < 2:
                raise ValueError(f"data.labels = {list(self.labels)}: a classifier needs at least two labels")
            if len(set(self.labels)) != len(self.labels):
                raise ValueError(f"data.labels = {list(self.labels)}: a label is listed twice")
            if self.positive_label is not None and self.positive_label not in self.labels:
                raise ValueError(
                    f"data.positive_label = {self.positive_label!r} is not one of data.labels ({', '.join(self.labels)})"
                )
        if self.multi_label:
            self._check_multi_label()
        columns = [item.split(":")[0] for item in self.input_schema.split(",")]
        for field in ("first_sequence", "second_sequence", "label"):
            name = getattr(self, field)
            if name is not None and name not in columns:
                raise ValueError(f"data.{field} = {name!r} is not a column of data.input_schema ({', '.join(columns)})")
        return self

    def _check_multi_label(self) -> None:
        if self.positive_label is not None:
            raise ValueError(
                "data.positive_label is for rows with one of two labels; leave it out with data.multi_label = true"
            )
        with_comma = [] if isinstance(self.labels, str) else [label for label in self.labels if "," in label]
        if with_comma:
            raise ValueError(f"data.labels holds {with_comma[0]!r}, but commas separate the labels of a row; rename it")
