"""Teacher logits: computed by the job's teachers, or read from a file."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from raykd.config.data import DataConfig
from raykd.config.file_formats import SUFFIXES, uncompressed_name
from raykd.config.paths import PathField
from raykd.config.section import Section

AnswerKind = Literal["logits", "probabilities", "top_logprobs", "votes"]


class LogitsConfig(Section):
    """The teacher's logits on the training rows."""

    file: PathField | None = None
    """Precomputed answers of a teacher, which replace it: a TSV file whose line i belongs to training row i; a .jsonl,
    .parquet, .csv or .arrow file with a row for each training row, in that order or keyed by `key` (Parquet: also by columns
    `shard` and `row`); or the folder `logits/train` of another run on the same rows."""
    kind: AnswerKind = "logits"
    """Content of the file. logits: numbers in label order. probabilities: numbers in label order, or a mapping from label to
    probability; each row sums to 1 within 0.01. top_logprobs: a mapping from label to log-probability, other keys are ignored
    (not TSV). votes: labels that a teacher sampled for the row, any number of them, or a mapping from label to
    count. All but logits are for `data.task: single_label`."""
    column: Annotated[int, Field(ge=0)] | str = 0
    """Column of that file: from 0 in a TSV; a name in other formats (`logits` unless given); in JSONL it may be left
    out when a line is the answer itself. A cell of CSV or TSV has items joined by commas, or JSON."""
    key: str | None = None
    """Column of the rows, and of the answers, that names a row; rows are then joined by it, and
    their order is free. null joins by position."""
    missing_ids: Literal["error", "uniform"] = "error"
    """Training rows whose `key` the file lacks. uniform: the same probability for every label; their number is printed."""
    unknown_ids: Literal["error", "ignore"] = "error"
    """Values of `key` in the file that no row of the training files has. ignore: they are left out; their number is printed."""
    floor: float = Field(-10.0, lt=0)
    """Natural logarithm of the lowest probability: of a label that a row of top_logprobs lacks, and of any smaller value
    given."""
    smoothing: float = Field(0.5, gt=0)
    """Votes added to the count of every label, so that none has the probability 0."""
    folds: int | None = Field(None, ge=2, le=100)
    """Cross-fitting: number of additional teachers, each trained without one fold of the rows and used to score that fold. null
    scores the rows with the teacher that was trained on them."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, value in (("kind", self.kind), ("key", self.key)):
            if self.file is None and value != type(self).model_fields[name].default:
                raise ValueError(f"logits.{name} = {value} describes logits.file, which is not set; name the file")
        if self.file is None:
            return self
        if self.kind == "top_logprobs" and not names_columns(self.file):
            raise ValueError(f"logits.kind = top_logprobs needs a .jsonl, .parquet, .csv or .arrow file, not {self.file}")
        if self.key is not None and not names_columns(self.file):
            raise ValueError(
                f"logits.key = {self.key!r}: the columns of {self.file} have no names; give a .jsonl, .parquet, .csv or .arrow "
                "file"
            )
        return self

    def check_data(self, data: DataConfig) -> None:
        """Raise ValueError when the file's content or key does not fit the data."""
        if self.kind != "logits" and data.traits.outputs != "classes":
            raise ValueError(
                f"logits.kind = {self.kind} is for rows with exactly one label, but data.task = {data.task}; give logits"
            )
        if data.columns and self.key is not None and self.key not in data.columns:
            raise ValueError(f"logits.key = {self.key!r} is not a column of data.input_schema ({', '.join(data.columns)})")


def names_columns(file: str) -> bool:
    """True for a file of answers whose columns have names."""
    name = uncompressed_name(file)
    return any(name.endswith(suffixes) for format_name, suffixes in SUFFIXES.items() if format_name != "tsv")
