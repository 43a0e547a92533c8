"""Configuration of the students: one section, and the named variants that change parts of it."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator, model_validator

from raykd.config.features import IntermediateConfig
from raykd.config.objectives import ObjectiveConfig, VanillaKDConfig
from raykd.config.section import InvalidPartsError, PartOf, keep_keys, merge_sections
from raykd.config.student_init import InitConfig, VocabularyConfig
from raykd.config.training import ModelTask

NO_KD, KD = "no_kd", "kd"
"""Names of the default variants."""
Rows = Literal["labelled", "all"]


class StudentSection(ModelTask):
    """The settings of a student that its variants may change."""

    objective: ObjectiveConfig = VanillaKDConfig()
    """Training objective."""
    intermediate: IntermediateConfig | None = None
    """Intermediate-layer distillation, before or together with `objective`; null distils logits alone."""
    init: InitConfig | None = None
    """Initial weights: some layers of `model` or of the fine-tuned teacher; null starts from `model` as it is. With
    `from: teacher`, `model` may be left out."""
    vocabulary: VocabularyConfig | None = None
    """Drop the tokens that the training and unlabelled rows do not use (WordPiece, Unigram); null keeps all."""

    @property
    def from_teacher(self) -> bool:
        """True when the initial weights are the fine-tuned teacher's."""
        return self.init is not None and self.init.from_ == "teacher"

    @property
    def layers(self) -> tuple[int, ...] | None:
        """Encoder layers of the initial weights; None for all."""
        return None if self.init is None else self.init.layers

    @property
    def needs_teacher(self) -> bool:
        """True when the student needs a trained teacher: its logits, its layers, or weights to start from."""
        return self.objective.distils or self.intermediate is not None or self.from_teacher

    @property
    def has_own_weights(self) -> bool:
        """True when the initial model is made by the run, from another one."""
        return self.from_teacher or self.layers is not None or self.vocabulary is not None

    @property
    def summary(self) -> str:
        """Objective and intermediate-layer distillation in one line, for a model card."""
        return " ".join([self.objective.summary, *([] if self.intermediate is None else [self.intermediate.summary])])


class VariantConfig(StudentSection):
    """One variant: keys of `student`, which replace those of the section, and the rows that it trains on."""

    rows: Rows | None = None
    """Training rows: `labelled` leaves rows without a label out. null is `labelled` for objective `fine_tune`, else `all`."""
    augment: bool = False
    """Train on augmented views of the rows too."""


@dataclass(frozen=True)
class StudentVariant:
    """A named student of the comparison: the student section with the variant's changes."""

    name: str
    student: StudentSection
    rows: Rows
    augment: bool
    given: frozenset[str]
    """Keys that the variant sets itself, with dots: ``training.epochs``."""

    @property
    def own_length(self) -> bool:
        """True when the variant sets its number of epochs or steps itself, which is then matched with no other."""
        return not self.given.isdisjoint({"training.epochs", "training.max_steps"})

    @property
    def has_intermediate_task(self) -> bool:
        """True when a training on the teacher's layers alone precedes that of the objective."""
        return self.student.intermediate is not None and self.student.intermediate.mode == "before"

    @property
    def summary(self) -> str:
        """Loss in one line, for a model card."""
        return self.student.summary if self.student.objective.distils else "cross entropy with the labels"

    def key(self, path: str) -> str:
        """Full key of a setting: the variant's where it changes it or a part of it, else that of the student section."""
        return f"student.variants.{self.name}.{path}" if self.sets(path) else f"student.{path}"

    def sets(self, path: str) -> bool:
        """Return True when the variant changes a setting of the student section, or a part of it."""
        return any(one == path or one.startswith(f"{path}.") or path.startswith(f"{one}.") for one in self.given)


class StudentConfig(StudentSection):
    """The small model."""

    own_keys: ClassVar = frozenset({"variants", "against", "match", "seeds"})

    variants: dict[str, Annotated[dict[str, Any], PartOf(VariantConfig)]] | None = None
    """Students that are trained and compared, by name: each has keys of this section that replace the section's own, merged
    key by key (a section whose `kind` changes is replaced whole), and `rows` and `augment`. The first is the baseline. null
    is `no_kd` (objective `fine_tune`, without intermediate layers) and `kd` (the section as it is), where it distils."""
    against: str | None = None
    """Variant that the others are compared with, besides the baseline."""
    match: Literal["steps", "epochs"] = "steps"
    """Length of the trainings that is equal: every variant trains for as many optimiser steps (or passes over its rows) as the
    longest, but for those that set training.epochs or training.max_steps themselves."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (1,)
    """Seeds: each variant is trained with each."""

    @property
    def section(self) -> dict[str, Any]:
        """The content that variants are merged over."""
        return self.model_dump(exclude=set(self.own_keys))

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """The variants as given, or the default ones."""
        if self.variants is not None:
            return self.variants
        if not self.objective.distils:
            return {NO_KD: {}}
        return {NO_KD: {"objective": {"kind": "fine_tune"}, "intermediate": None, "rows": "labelled"}, KD: {}}

    def resolved_variants(self) -> tuple[StudentVariant, ...]:
        """The variants with all their settings; the first is the baseline."""
        return tuple(_resolve(name, part, self.section) for name, part in self.parts.items())

    def inner_sections(self) -> Iterator[tuple[str, BaseModel]]:
        """The variants with settings of their own."""
        yield from ((f"variants.{one.name}", one.student) for one in self.resolved_variants() if self.variants)

    @field_validator("variants")
    @classmethod
    def _check_variants(
        cls, variants: dict[str, dict[str, Any]] | None, info: ValidationInfo
    ) -> dict[str, dict[str, Any]] | None:
        if variants is None or not set(StudentSection.model_fields) <= set(info.data):
            return variants  # errors of the section itself are reported first
        if not variants:
            raise ValueError("student.variants is empty; name one student or more, or leave it out")
        section = StudentSection.model_construct(**{name: info.data[name] for name in StudentSection.model_fields})
        checked, errors = {}, []
        for name, part in variants.items():
            if not re.fullmatch(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*", name):
                raise ValueError(f"student.variants has the name {name!r}: use letters, digits, and '_' between them")
            try:
                whole = VariantConfig.model_validate(merge_sections(section.model_dump(), part), context=info.context)
            except ValidationError as error:
                errors.append((f"student.variants.{name}", VariantConfig, error))
            else:
                checked[name] = keep_keys(whole.model_dump(mode="json"), part)
        if errors:
            raise InvalidPartsError(errors)
        return checked

    @model_validator(mode="after")
    def _check_students(self) -> Self:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"student.seeds = {list(self.seeds)}: give at least one seed, each once")
        if self.against is not None and self.against not in self.parts:
            near = difflib.get_close_matches(self.against, self.parts, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"the variants are {', '.join(self.parts)}"
            raise ValueError(f"student.against = {self.against!r} is no variant; {hint}")
        return self


def check_searched(variants: Sequence[StudentVariant]) -> None:
    """Raise ValueError unless a search can train the last variant and compare it with the first."""
    baseline, searched = variants[0], variants[-1]
    if not searched.student.objective.distils:
        raise ValueError(
            f"base: {searched.key('objective')}.kind = 'fine_tune' distils nothing; search a job whose last variant distils"
        )
    if baseline.student.objective.distils:
        raise ValueError(
            f"base: {baseline.name}, the first of student.variants, distils; a search compares with a student on labels alone, "
            "so name one first (no_kd: {objective: {kind: fine_tune}})"
        )
    if baseline.student.model != searched.student.model:
        raise ValueError(
            f"base: the variants {baseline.name} and {searched.name} begin from {baseline.student.model} and "
            f"{searched.student.model}; a search compares students of one model"
        )


def _resolve(name: str, part: Mapping[str, Any], section: Mapping[str, Any]) -> StudentVariant:
    student = VariantConfig.model_validate(merge_sections(section, part))
    rows = student.rows or ("all" if student.objective.distils else "labelled")
    return StudentVariant(name, student, rows, student.augment, frozenset(_leaves(part)))


def _leaves(part: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Keys of all values, with dots."""
    for key, value in part.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def check_initial_model(variant: StudentVariant, *, has_teacher: bool) -> None:
    """Raise ValueError for layers of a teacher without exactly one, and for tokens of its own beside the teacher's layers."""
    student = variant.student
    if student.from_teacher and not has_teacher:
        raise ValueError(
            f"{variant.key('init')}.from = teacher takes the layers of one teacher, but the job has none, several, or a "
            "language model; give teacher, or set from to model"
        )
    if student.intermediate is not None and student.vocabulary is not None:
        raise ValueError(
            f"{variant.key('intermediate')} runs the teacher on the student's tokens, but {variant.key('vocabulary')} gives "
            "the student tokens of its own; leave one of the two out"
        )
