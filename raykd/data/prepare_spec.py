"""Specification of a prepared set: files, columns, split and tokenizer."""

from dataclasses import dataclass

from raykd.config import DataConfig
from raykd.config.data import VALIDATION
from raykd.config.text_files import TextFilesConfig
from raykd.data.label_budget import RowSelection
from raykd.data.label_codec import LabelCodec
from raykd.data.prompts import PromptTokenizer
from raykd.data.readers import TSV, FileFormat
from raykd.data.splits import HashRange
from raykd.data.views import ViewSettings
from raykd.stage_names import Split


@dataclass(frozen=True)
class PrepareSpec:
    """Specification of a prepared set; most fields are those of :class:`raykd.config.DataConfig`."""

    files: tuple[str, ...]
    """Paths or globs."""
    input_schema: str | None
    """Columns by position; None finds them by name in files that name them."""
    first_sequence: str
    second_sequence: str | None
    label: str | None
    codec: LabelCodec | None
    """Codec of the label column; None without one."""
    skip_header: bool
    sequence_length: int
    max_rejected_rows: int
    tokenizer: str
    """Model folder, or the name of a model on the hub."""
    keep: HashRange | None
    """Split of the files to keep; None keeps every row."""
    prompts: PromptTokenizer | None = None
    """Tokenizer of prompts around the rows' texts, instead of the model's own."""
    extra_columns: tuple[str, ...] = ()
    """Input columns to keep in addition to the tokens."""
    exclude: tuple[str, ...] = ()
    """Prepared sets whose texts are left out."""
    selection: RowSelection | None = None
    """Rows of the files to keep, by name; None keeps all."""
    views: ViewSettings | None = None
    """Views of the rows, which replace the rows; None prepares the rows themselves."""
    strict_rows: bool = True
    """Reject rows that EasyNLP accepts: more cells than columns, byte-order marks, zero bytes, headers among the rows."""
    format: FileFormat = TSV
    """Format of the files."""
    remedy: str = "correct the line, or set data.max_rejected_rows to skip such rows"
    """Advice of the error on a row that does not parse, where none may."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that are read."""
        names = (self.first_sequence, self.second_sequence, self.label, *self.extra_columns)
        return tuple(dict.fromkeys(name for name in names if name is not None))


def spec_from_config(data: DataConfig, split: Split, tokenizer: str, codec: LabelCodec) -> PrepareSpec:
    """Specification of one split. With fractions for validation or test, the splits share the training files."""
    files, keep = _split_files(data, split)
    return PrepareSpec(
        files=files,
        input_schema=data.input_schema,
        first_sequence=data.first_sequence,
        second_sequence=data.second_sequence,
        label=data.label,
        codec=None if data.label is None else codec,
        skip_header=data.skip_header,
        sequence_length=data.sequence_length,
        max_rejected_rows=data.max_rejected_rows,
        tokenizer=tokenizer,
        keep=keep,
        format=file_format(data),
    )


def file_format(data: TextFilesConfig) -> FileFormat:
    """Format of a configuration's files."""
    return FileFormat(data.format, data.delimiter, named=data.input_schema is None)


def _split_files(data: DataConfig, split: Split) -> tuple[tuple[str, ...], HashRange | None]:
    """The files of a split, and the hash range of its rows; None for whole files."""
    if split == "test" and data.test == VALIDATION:
        split = "validation"
    validation = data.validation if isinstance(data.validation, float) else 0.0
    test = data.test if isinstance(data.test, float) else 0.0
    given = {"train": data.train, "validation": data.validation, "test": data.test}[split]
    if split != "train" and isinstance(given, tuple):
        return given, None
    if not validation and not test:
        return data.train, None
    ranges = {"train": (validation, 1 - test), "validation": (0.0, validation), "test": (1 - test, 1.0)}
    return data.train, HashRange(*ranges[split])
