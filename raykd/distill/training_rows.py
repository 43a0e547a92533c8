"""Training rows of one experiment: labelled rows, unlabelled ones, and the set that a student trains on.

Each kind of rows is a tokenised set of its own with its own logits, so that students on labelled rows read nothing else, and
the teacher scores a row once whatever students read it. A student's set joins some of them without a copy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from raykd.config import ExperimentConfig, StudentVariant
from raykd.config.student import Rows
from raykd.data import storage
from raykd.data.join_sets import join_sets, join_sides
from raykd.data.label_budget import RowSelection, select_labelled
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.prompts import PromptTokenizer
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.data.unlabelled import unlabelled_spec
from raykd.data.views import ViewSettings
from raykd.distill.split_rows import SplitRows
from raykd.models import absolute_model, model_digest
from raykd.run.stages import StageRunner

LABELLED_ROWS, BEYOND_BUDGET, UNLABELLED_FILES = "train", "unlabelled-train", "unlabelled"
"""Kinds of training rows, and folders of their logits: those of `data.train` with a label, those beyond `data.label_budget`,
and those of `data.unlabelled`."""
VIEWS = "views-"
"""Beginning of the kind of the views of rows of another kind."""
_TITLES = {
    LABELLED_ROWS: "labelled training",
    BEYOND_BUDGET: "training, beyond data.label_budget",
    UNLABELLED_FILES: "unlabelled",
}


class TrainingRows:
    """The tokenised training rows of an experiment, by kind and joined; each is made if it is not there."""

    def __init__(self, config: ExperimentConfig, runner: StageRunner, splits: SplitRows) -> None:
        self._data, self._augment = config.data, config.augment
        self._model, self._variants = config.student_models[0], config.student_variants
        self._runner, self._splits = runner, splits

    def of(self, model: str, *, rows: Rows, augment: bool) -> TokenisedSet:
        """The rows of a student as a model's tokens."""
        kinds = self.kinds(rows=rows, augment=augment)
        return join_sets([self.of_kind(kind, model) for kind in kinds], labelled=int(self._data.label is not None))

    @property
    def every_kind(self) -> tuple[str, ...]:
        """Kinds of rows that any student reads, and the teachers' labelled ones."""
        return self._kinds_of(self._variants)

    @property
    def distilled_kinds(self) -> tuple[str, ...]:
        """Kinds of rows whose logits students read."""
        return self._kinds_of([one for one in self._variants if one.student.objective.distils])

    def _kinds_of(self, variants: Sequence[StudentVariant]) -> tuple[str, ...]:
        found = (kind for one in variants for kind in self.kinds(rows=one.rows, augment=one.augment))
        return tuple(dict.fromkeys([LABELLED_ROWS, *found]))

    def kinds(self, *, rows: Rows, augment: bool) -> tuple[str, ...]:
        """Kinds of rows that a student's set has, the labelled ones first, and views last."""
        kinds = [LABELLED_ROWS]
        if rows == "all":
            kinds += [BEYOND_BUDGET] * self._has_rows_beyond_budget + [UNLABELLED_FILES] * bool(self._data.unlabelled)
        return (*kinds, *(f"{VIEWS}{kind}" for kind in kinds if augment))

    def of_kind(self, kind: str, model: str, prompts: PromptTokenizer | None = None) -> TokenisedSet:
        """The rows of one kind as a model's tokens, or as its prompts."""
        if kind == LABELLED_ROWS and self._selection is None:
            return self._splits.tokenised("train", model, prompts)
        return self._runner.tokenise(self._kind_specification(kind, model, prompts), _title(kind))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Sentences on the texts of each kind of rows that were left out, since a held-out split has them; () without any."""
        sets = {_title(kind): self.of_kind(kind, self._model) for kind in self.every_kind}
        sets["validation"] = self._splits.tokenised("validation", self._model)
        return tuple(
            f"{rows.excluded:,} of {rows.excluded + rows.num_rows:,} texts left out of the {title} rows: "
            f"{'the test set has them' if title == 'validation' else 'the validation or test set has them'}"
            for title, rows in sets.items()
            if rows.excluded
        )

    def join_logits(self, tables: Mapping[str, SideTable], folder: str, *, rows: Rows, augment: bool) -> SideTable:
        """The logits of a student's rows in ``folder``, from those of each kind, which lie there too."""
        kinds = self.kinds(rows=rows, augment=augment)
        members = [self.of_kind(kind, self._model) for kind in kinds]
        whole = self.of(self._model, rows=rows, augment=augment)
        out = storage.join(folder, f"{rows}-with-views" if augment else rows)
        return join_sides([tables[kind] for kind in kinds], members, whole, out)

    def _kind_specification(self, kind: str, model: str, prompts: PromptTokenizer | None) -> PrepareSpec:
        given = self._splits.specification("train", model, prompts)
        if kind == LABELLED_ROWS:
            return replace(given, selection=self._selection)
        exclude = tuple(self._splits.tokenised(split, model, prompts).path for split in self._splits.held_out)
        if kind.startswith(VIEWS):
            rows = self._kind_specification(kind.removeprefix(VIEWS), model, prompts)
            return replace(rows, label=None, codec=None, exclude=exclude, views=self._view_settings)
        if kind == UNLABELLED_FILES:
            return replace(unlabelled_spec(given, self._data.unlabelled), exclude=exclude)
        assert self._selection is not None
        return replace(given, label=None, codec=None, exclude=exclude, selection=replace(self._selection, others=True))

    @cached_property
    def _view_settings(self) -> ViewSettings:
        augment = self._augment
        assert augment is not None
        filler = None
        if augment.masked_lm is not None:
            from raykd.models.masked_words import MaskedWords

            filler = MaskedWords(absolute_model(augment.masked_lm), model_digest(augment.masked_lm))
        return ViewSettings(**augment.model_dump(exclude={"masked_lm"}), filler=filler)

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


def _title(kind: str) -> str:
    """Name of a kind of rows on the terminal and in the report."""
    base = kind.removeprefix(VIEWS)
    return _TITLES[base] if base == kind else f"views of {_TITLES[base]}"
