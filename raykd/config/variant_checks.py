"""Checks of a student variant against the rest of its job. Each raises ValueError with the settings and what to change."""

from collections.abc import Sequence

from raykd.config.data import DataConfig
from raykd.config.objectives import supported_objectives
from raykd.config.student import StudentVariant, check_initial_model
from raykd.config.teacher_kinds import AnyTeacher, AnyWeightedTeacher, CausalTeacherConfig, TeacherConfig


def check_task(variant: StudentVariant, data: DataConfig) -> None:
    """Refuse an objective that the kind of task has no outputs for."""
    objective, outputs = variant.student.objective, data.traits.outputs
    if outputs not in objective.supported_outputs:
        needed = "exactly one class per row" if objective.supported_outputs == ("classes",) else "probabilities"
        raise ValueError(
            f"{variant.key('objective')}.kind = {objective.kind} needs {needed}, which data.task = {data.task} does "
            f"not have; use {' or '.join(supported_objectives(outputs))}"
        )


def check_variant(
    variant: StudentVariant, *, teacher: AnyTeacher | None, teachers: Sequence[AnyWeightedTeacher], has_logits: bool
) -> None:
    """Refuse a variant that needs logits, layers or weights which the job's teachers do not have."""
    if variant.student.objective.needs_teacher and not has_logits:
        raise ValueError(
            f"{variant.key('objective')} distils, but there is neither a teacher nor logits.file; give one of them"
        )
    if variant.student.intermediate is not None:
        _check_intermediate(variant, teacher, teachers)
    check_initial_model(variant, has_teacher=isinstance(teacher, TeacherConfig))


def _check_intermediate(variant: StudentVariant, teacher: AnyTeacher | None, teachers: Sequence[AnyWeightedTeacher]) -> None:
    section, objective = variant.key("intermediate"), variant.student.objective
    if not objective.distils:
        raise ValueError(
            f"{section} distils, but {variant.key('objective')}.kind = {objective.kind} learns from labels alone; choose a "
            f"kind that distils (vanilla_kd), or set intermediate to null in student.variants.{variant.name}"
        )
    if teachers:
        raise ValueError(
            f"{section} learns from the layers of one teacher, but teachers lists {len(teachers)}; give "
            f"teacher instead, or remove {section}"
        )
    if teacher is None:
        raise ValueError(
            f"{section} runs the teacher, but there are only its logits (logits.file); add teacher, or remove {section}"
        )
    if isinstance(teacher, CausalTeacherConfig):
        raise ValueError(
            f"{section} learns from the layers of a classifier, but teacher.kind = causal_lm; remove {section}, or take a "
            "classifier"
        )
