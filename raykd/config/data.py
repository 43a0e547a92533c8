"""Data files, their columns and their labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from raykd.config.paths import PathField
from raykd.config.text_files import TextFilesConfig
from raykd.errors import list_values

TaskName = Literal["single_label", "multi_label", "regression"]
Outputs = Literal["classes", "labels", "values"]
"""Meaning of a model's outputs: exclusive classes, independent labels, or numbers as they are."""


@dataclass(frozen=True)
class TaskTraits:
    """Properties of a kind of task that the configuration needs; the rest is in :mod:`raykd.task_kinds`."""

    outputs: Outputs
    headline: str
    """Metric of verdicts, and of model selection unless `training.metric` names another."""
    smaller_is_better: frozenset[str] = frozenset({"loss", "ece"})
    """Metrics whose best value is the smallest."""
    separator: str = ""
    """Character that joins the labels of a cell; empty where a cell holds one."""

    @property
    def takes_labels(self) -> bool:
        """True when the labels have names."""
        return self.outputs != "values"


TASKS: dict[str, TaskTraits] = {
    "single_label": TaskTraits("classes", headline="accuracy"),
    "multi_label": TaskTraits("labels", headline="exact_match", separator=","),
    "regression": TaskTraits("values", headline="pearson", smaller_is_better=frozenset({"loss", "rmse"})),
}


Fraction = Annotated[float, Field(gt=0, lt=1)]
"""A share of the rows of `data.train`."""
VALIDATION: Literal["validation"] = "validation"
"""Value of `data.test` that takes the validation set."""
MIN_TEST_ROWS = 50
"""Fewest rows of a test set held out by a fraction: the 95% interval of an accuracy of 0.8 is then 11 points to both sides."""


_NAMES_WITHOUT_ROWS = ("0", "1")
"""Labels of rows without a label column, unless the job lists others."""


class DataConfig(TextFilesConfig):
    """Data files and the meaning of their columns."""

    label: str | None = None
    """Column that holds the label; null for unlabelled rows, which only alpha = 1 can train on."""
    task: TaskName = "single_label"
    """single_label: a row has one of `labels`. multi_label: a row has any number of them; the cell holds them
    joined by commas and may be empty. regression: the label is a number, without `labels`."""
    labels: tuple[str, ...] | PathField | None = None
    """The label values in the order of their ids, or the path of a file with one value a line; null finds the values in
    `train`, at most 1,000, and sorts them. Without `label` null is 0 and 1. Not for regression."""
    positive_label: str | None = None
    """Label whose F1 is reported for two classes; null is the second, as in EasyNLP."""
    train: tuple[PathField, ...]
    """Training files: paths or globs, local or s3://, gs://, hdfs://; text formats plain, .gz or .zst. A folder that
    `datasets.save_to_disk` wrote stands for its Arrow files."""
    unlabelled: tuple[PathField, ...] = ()
    """Files of more texts, whose labels are unknown or ignored: the text columns alone, or the columns of `train`. Students
    learn from the teacher's logits on them. Texts of the validation and test set are left out, and their number is printed."""
    label_budget: int | None = Field(None, ge=1)
    """Number of training rows that keep their label, chosen by a hash of the text and stratified by class; the others become
    unlabelled rows. Teachers are fine-tuned on the labelled rows alone. null keeps every label."""
    unlabelled_fraction: float | None = Field(None, gt=0, lt=1)
    """Share of unlabelled rows in every batch of a student that learns from both kinds; views count as unlabelled. An epoch
    keeps its number of steps: labelled rows return within it when they are fewer than their share. null takes the rows as
    they come."""
    validation: tuple[PathField, ...] | Fraction = 0.05
    """Validation set, which selects the best model: files, or the fraction of `train` held out by a hash of the text."""
    test: tuple[PathField, ...] | Fraction | Literal["validation"] = 0.1
    """Test set, used for the report only: files, or the fraction of `train` held out by a hash of the text, of at least
    50 rows. `validation` uses the validation set: results are too good, since it has selected the models, and the verdict
    has a warning. Without `label` there is no report: `validation`, for evaluation alone."""
    overlap: Literal["warn", "drop", "error"] = "warn"
    """Treatment of texts that training, validation and test set share, but for case, white space and Unicode form. warn:
    the report has their number. drop: a row whose text is in the test set is left out of the other two, and one of the
    validation set out of the training set. error: the run stops before anything is trained."""
    sequence_length: int = Field(128, ge=4)
    """Maximum tokens of a row, special tokens included; longer text is truncated, shorter text is not padded to it."""
    max_rejected_rows: int = Field(0, ge=0)
    """Rows that may fail to parse before the run stops; they are written to a separate file with the reason. 0 stops at the
    first."""

    @model_validator(mode="before")
    @classmethod
    def _no_default_labels(cls, given: Any) -> Any:
        """Name labels where the task has none, and where there are no rows to find them in."""
        task = given.get("task", "single_label") if isinstance(given, Mapping) else None
        traits = TASKS.get(task) if isinstance(task, str) else None
        if traits is None or given.get("labels") is not None:
            return given
        if not traits.takes_labels:
            return {**given, "labels": ()}
        return given if given.get("label") is not None else {**given, "labels": _NAMES_WITHOUT_ROWS}

    @model_validator(mode="before")
    @classmethod
    def _no_test_without_labels(cls, given: Any) -> Any:
        """Hold no test rows out where nothing can be measured on them."""
        unlabelled = isinstance(given, Mapping) and given.get("label") is None
        return {"test": VALIDATION, **given} if unlabelled else given

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.train:
            raise ValueError("data.train names no files; give at least one path or glob")
        self._check_splits()
        if self.traits.takes_labels and isinstance(self.labels, tuple):
            self._check_labels(self.labels)
        elif not self.traits.takes_labels and self.labels:
            raise ValueError(f"data.labels = {self.labels}: with data.task = {self.task} a label is a number; leave it out")
        if self.positive_label is not None and self.traits.outputs != "classes":
            raise ValueError(
                f"data.positive_label is for rows with one of two labels; leave it out with data.task = {self.task}"
            )
        self._check_unlabelled_rows()
        return self

    def _check_splits(self) -> None:
        for name, given in (("validation", self.validation), ("test", self.test)):
            if given == ():
                raise ValueError(f"data.{name} names no files; list files, or give a fraction of data.train")
        fractions = [given for given in (self.validation, self.test) if isinstance(given, float)]
        if sum(fractions) >= 1:
            raise ValueError(
                f"data.validation = {self.validation} and data.test = {self.test} leave no training rows; lower one of them"
            )

    def _check_labels(self, labels: tuple[str, ...]) -> None:
        if len(labels) < 2:
            raise ValueError(f"data.labels = {list(labels)}: a classifier needs at least two labels")
        if len(set(labels)) != len(labels):
            raise ValueError(f"data.labels lists {next(one for one in labels if labels.count(one) > 1)!r} twice")
        if self.positive_label is not None and self.positive_label not in labels:
            raise ValueError(f"data.positive_label = {self.positive_label!r} is not one of data.labels ({list_values(labels)})")
        separator = self.traits.separator
        joined = [label for label in labels if separator and separator in label]
        if joined:
            raise ValueError(
                f"data.labels holds {joined[0]!r}, but {separator!r} separates the labels of a row; rename the label"
            )

    def _check_unlabelled_rows(self) -> None:
        if self.unlabelled_fraction is not None and not self.has_unlabelled_rows:
            raise ValueError(
                f"data.unlabelled_fraction = {self.unlabelled_fraction:g}, but there are no unlabelled rows: give "
                "data.unlabelled or data.label_budget, or leave it out"
            )
        given = {"unlabelled": bool(self.unlabelled), "label_budget": self.label_budget is not None}
        named = next((name for name, is_given in given.items() if is_given), None)
        if named is not None and self.label is None:
            raise ValueError(
                f"data.{named} is given, but data.label is not set, so that no row of data.train has a label; name the label "
                "column, or list all files in data.train"
            )
        classes = len(self.labels) if self.traits.outputs == "classes" and isinstance(self.labels, tuple) else 0
        if self.label_budget is not None and self.label_budget < classes:
            raise ValueError(
                f"data.label_budget = {self.label_budget} is smaller than the {classes} labels of data.labels; raise it, each "
                "class needs a row"
            )

    @property
    def has_unlabelled_rows(self) -> bool:
        """True when students may train on rows whose label is not known, besides labelled ones."""
        return bool(self.unlabelled) or self.label_budget is not None

    def with_labels(self, labels: tuple[str, ...]) -> Self:
        """The same with the labels that were found. Raises ValueError when they do not fit the other settings."""
        self._check_labels(labels)
        return self.model_copy(update={"labels": labels})

    @property
    def has_test_set(self) -> bool:
        """True when the rows of the report have not selected the models."""
        return self.test != VALIDATION

    @property
    def traits(self) -> TaskTraits:
        """Properties of the task."""
        return TASKS[self.task]
