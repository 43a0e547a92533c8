"""Feature distillation as an objective: losses on intermediate layers, alone or joined with a logit objective."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor, nn

from raykd.data.batch import Batch
from raykd.losses import keep
from raykd.models import first_layer_input
from raykd.trainers.features.encoder_outputs import EncoderOutputs, encoder_outputs
from raykd.trainers.features.live_teacher import Teacher, TeacherTargets
from raykd.trainers.features.loss_terms import FeatureLosses
from raykd.trainers.gradient_norms import ReportNorms, term_gradient_norms
from raykd.trainers.objective import Objective, ObjectiveOutput

PROJECTIONS = "projections"
"""Name of the student's projections among the modules that a task trains, and of their file."""


def projections(student: int, teacher: int, names: Sequence[str]) -> nn.ModuleDict:
    """Create linear maps from the student's width to the teacher's, one for each name; empty where the widths are equal."""
    if student == teacher:
        return nn.ModuleDict()
    return nn.ModuleDict({name: nn.Linear(student, teacher, bias=False) for name in names})


def project(maps: Any, name: str, values: Tensor) -> Tensor:
    """Apply the projection of that name, if there is one."""
    projected: Tensor = maps[name](values) if name in maps else values
    return projected


def valid_terms(terms: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Terms ``[B]``, 0 where a row is not valid."""
    return {name: keep(term, batch.valid) for name, term in terms.items()}


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureKD(Objective):
    """The terms of :class:`~raykd.trainers.features.loss_terms.FeatureLosses`, then those of the logit objective."""

    teacher: Teacher
    losses: FeatureLosses
    auxiliary: Mapping[str, nn.Module]
    """Modules trained with the student: :func:`projections`, under :data:`PROJECTIONS`."""
    logit_objective: Objective | None = None
    """An objective on the student's logits, added up with the losses; it sees the same forward pass."""

    @property
    def side_columns(self) -> tuple[str, ...]:
        """Columns that the logit objective reads."""
        return () if self.logit_objective is None else self.logit_objective.side_columns

    @property
    def needs_labels(self) -> bool:
        """True when the logit objective reads labels."""
        return self.logit_objective is not None and self.logit_objective.needs_labels

    @property
    def takes_unlabelled(self) -> bool:
        """True unless the logit objective refuses such rows: features have no labels."""
        return self.logit_objective is None or self.logit_objective.takes_unlabelled

    @property
    def trainable(self) -> Mapping[str, nn.Module]:
        """The projections, an empty module where the widths are equal."""
        return self.auxiliary

    @property
    def frozen(self) -> nn.Module:
        """The teacher."""
        found: nn.Module = self.teacher.model
        return found

    def check(self, *, num_labels: int, whole_batch: bool) -> None:
        """Raise ConfigError when the logit objective cannot train the task."""
        if self.logit_objective is not None:
            self.logit_objective.check(num_labels=num_labels, whole_batch=whole_batch)

    def at(self, progress: float) -> Self:
        """The objective with its logit objective at that point of training."""
        return self if self.logit_objective is None else replace(self, logit_objective=self.logit_objective.at(progress))

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """Ask the teacher for its targets, then run the student and its projections."""
        targets = self.teacher(batch)
        return ObjectiveOutput(model(run=self._forward, batch=batch, targets=targets, **batch.model_inputs()))

    def terms(
        self, student: EncoderOutputs, targets: TeacherTargets, batch: Batch, auxiliary: nn.ModuleDict
    ) -> dict[str, Tensor]:
        """Every term, ``[B]`` each; subclasses add theirs."""
        maps: Any = auxiliary[PROJECTIONS]
        selected = student.select(sorted(self.losses.features), [layer for layer, _ in self.losses.layers])
        mask = batch.attention_mask
        terms = self.losses(selected, targets.features, mask, lambda name, values: project(maps, name, values))
        if self.logit_objective is not None:
            computed: Any = _ComputedOutput(student.output)
            terms |= self.logit_objective(computed, batch).terms
        return terms

    def _forward(
        self,
        model: nn.Module,
        auxiliary: nn.ModuleDict,
        *,
        batch: Batch,
        targets: TeacherTargets,
        report_norms: ReportNorms | None = None,
        **inputs: Tensor,
    ) -> dict[str, Tensor]:
        """Run inside the engine's forward pass, where all weights are at hand."""
        student = encoder_outputs(model, inputs, features=self.losses.features)
        terms = valid_terms(self.terms(student, targets, batch, auxiliary), batch)
        if report_norms is not None:
            report_norms(term_gradient_norms(terms, at=first_layer_input(student.output.hidden_states)))
        return terms


@dataclass(frozen=True)
class _ComputedOutput:
    """Stands in for a model whose forward pass has been made: the logit objective calls it as it would call the model."""

    output: Any

    def __call__(self, **_: Tensor) -> Any:
        return self.output
