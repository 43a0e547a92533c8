"""Training rows of one experiment: labelled rows, unlabelled ones, and the set that a student trains on.

Each kind of rows is a tokenised set of its own with its own logits, so that students on labelled rows read nothing else, and
the teacher scores a row once whatever students read it. A student's set joins some of them without a copy.
"""

from dataclasses import replace
from functools import cached_property

from raykd.config import ExperimentConfig
from raykd.config.student import Rows
from raykd.data.join_sets import join_sets, join_sides
from raykd.data.label_budget import RowSelection, select_labelled
from raykd.data.prepare import PrepareSpec
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.data.unlabelled import unlabelled_spec
from raykd.distill.split_rows import SplitRows
from raykd.run.stages import StageRunner

LABELLED_ROWS, BEYOND_BUDGET, UNLABELLED_FILES = "train", "unlabelled-train", "unlabelled"
"""Kinds of training rows, and folders of their logits: those of `data.train` with a label, those beyond `data.label_budget`,
and those of `data.unlabelled`."""
_TITLES = {
    LABELLED_ROWS: "labelled training",
    BEYOND_BUDGET: "training, beyond data.label_budget",
    UNLABELLED_FILES: "unlabelled",
}


class TrainingRows:
    """The tokenised training rows of an experiment, by kind and joined; each is made if it is not there."""

    def __init__(self, config: ExperimentConfig, runner: StageRunner, splits: SplitRows) -> None:
        self._data, self._model, self._variants = config.data, config.student_models[0], config.student_variants
        self._runner, self._splits = runner, splits

    def of(self, model: str, *, rows: Rows) -> TokenisedSet:
        """The rows of a student as a model's tokens."""
        kinds = self.kinds(rows=rows)
        return join_sets([self.of_kind(kind, model) for kind in kinds], labelled=1)

    @property
    def every_kind(self) -> tuple[str, ...]:
        """Kinds of rows that any student reads, and the teachers' labelled ones."""
        return tuple(dict.fromkeys([LABELLED_ROWS, *(kind for one in self._variants for kind in self.kinds(rows=one.rows))]))

    @property
    def distilled_kinds(self) -> tuple[str, ...]:
        """Kinds of rows whose logits students read."""
        distilling = [one for one in self._variants if one.student.objective.distils]
        return tuple(dict.fromkeys(kind for one in distilling for kind in self.kinds(rows=one.rows)))

    def kinds(self, *, rows: Rows) -> tuple[str, ...]:
        """Kinds of rows that a student's set has, the labelled ones first."""
        if rows == "labelled":
            return (LABELLED_ROWS,)
        others = [BEYOND_BUDGET] * self._has_rows_beyond_budget + [UNLABELLED_FILES] * bool(self._data.unlabelled)
        return (LABELLED_ROWS, *others)

    def of_kind(self, kind: str, model: str) -> TokenisedSet:
        """The rows of one kind as a model's tokens."""
        if kind == LABELLED_ROWS and self._selection is None:
            return self._splits.tokenised("train", model)
        return self._runner.tokenise(self._kind_specification(kind, model), _TITLES[kind])

    def join_logits(self, tables: dict[str, SideTable], out: str, *, rows: Rows) -> SideTable:
        """The logits of a student's rows, from those of each kind, which lie beside ``out``."""
        kinds = self.kinds(rows=rows)
        members = [self.of_kind(kind, self._model) for kind in kinds]
        return join_sides([tables[kind] for kind in kinds], members, self.of(self._model, rows=rows), out)

    def _kind_specification(self, kind: str, model: str) -> PrepareSpec:
        given = self._splits.specification("train", model)
        if kind == LABELLED_ROWS:
            return replace(given, selection=self._selection)
        exclude = tuple(self._splits.tokenised(split, model).path for split in self._splits.held_out)
        if kind == UNLABELLED_FILES:
            return replace(unlabelled_spec(given, self._data.unlabelled), exclude=exclude)
        assert self._selection is not None
        return replace(given, label=None, codec=None, exclude=exclude, selection=replace(self._selection, others=True))

    @cached_property
    def _selection(self) -> RowSelection | None:
        """The training rows that keep their label; None for all."""
        if self._data.label_budget is None:
            return None
        return select_labelled(self._splits.tokenised("train", self._model), self._data.label_budget, self._runner.cache)

    @property
    def _has_rows_beyond_budget(self) -> bool:
        budget = self._data.label_budget
        return budget is not None and self._splits.tokenised("train", self._model).num_rows > budget
