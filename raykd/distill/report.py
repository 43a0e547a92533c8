"""The last stage: from logits of every model to ``report.json``, ``report.md`` and ``report.html``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from raykd.config import DataConfig, ExperimentConfig, StudentConfig, StudentVariant
from raykd.data import storage
from raykd.data.overlap import Overlap
from raykd.data.sample_rows import sample_rows
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.prompted_teacher import PromptedTeacher
from raykd.models import load_config
from raykd.models.model_settings import ModelSettings, write_settings
from raykd.predict import ScoreJob
from raykd.report.card import model_card
from raykd.report.comparison import Comparison, Entry, compare
from raykd.report.environment import environment
from raykd.report.exports import read_exports
from raykd.report.latency import LATENCY_SECONDS, SAMPLE_ROWS, Latency, load_predictor, measure_latency, one_after_the_other
from raykd.report.load_tables import load_labels, load_logits
from raykd.report.scoring_cost import scoring_cost
from raykd.report.system import Role, Task, TrainingWork
from raykd.report.teacher_quality import TeacherQuality, teacher_quality
from raykd.session import call_on_models
from raykd.task_kinds import TaskKind, task_kind


@dataclass(frozen=True)
class Candidate:
    """A trained model that the report compares."""

    role: Role
    name: str
    """Name of its training, which has the seed."""
    seed: int | None
    model: str
    """Its folder; empty where it is several models together."""
    tokenizer: str
    """Model whose tokens it reads."""
    history: str | None
    parts: tuple[str, ...] = ()
    """Folders of the models whose logits it averages, where it is several."""
    prompted: PromptedTeacher | None = None
    """The prompts and answers of a language model; None for a classifier."""
    variant: StudentVariant | None = None
    """The student's variant; None for a teacher."""
    work: TrainingWork | None = None
    """Size of the student's training."""

    def job(self, rows: TokenisedSet, output: str) -> ScoreJob:
        """The scoring of rows that were tokenised for it."""
        if self.prompted is not None:
            return self.prompted.job(self.model, rows.path, output)
        return ScoreJob(self.model, rows.path, output)

    @property
    def system(self) -> str:
        """Name of its system: the student's variant, or the teacher."""
        return self.name if self.variant is None else self.variant.name

    def entry(self, logits: SideTable, validation: str | None = None) -> Entry:
        """The candidate with its logits on the report's rows, and on the validation rows."""
        return Entry(
            self.role,
            self.system,
            self.seed,
            logits.path,
            self.model or None,
            self.history,
            self.parts,
            validation,
            self.work,
            scoring_cost(logits.provenance, sum(part.rows for part in logits.parts)),
        )


def build_comparison(
    scored: Sequence[tuple[Candidate, SideTable]],
    *,
    name: str,
    rows: TokenisedSet,
    data: DataConfig,
    quality: Mapping[str, Any] | None,
    student: StudentConfig,
    overlaps: Sequence[Overlap] = (),
    left_out: Sequence[str] = (),
    validation: Mapping[str, SideTable],
    validation_rows: TokenisedSet,
    latencies: Mapping[tuple[str, ...], Latency],
) -> Comparison:
    """Measure every candidate on ``rows``.

    ``validation`` are logits on ``validation_rows`` by the candidate's name, ``latencies`` those of :func:`measure_latencies`.
    Raises DataError without labels.
    """
    return compare(
        [one.entry(side, validation[one.name].path if one.name in validation else None) for one, side in scored],
        Task(
            task_kind(data.task),
            load_labels(rows.path),
            rows.labels or (),
            positive_label=data.positive_label,
            selected=not data.has_test_set,
            fingerprint=rows.rows_fingerprint,
            validation_labels=load_labels(validation_rows.path) if validation else None,
        ),
        name=name,
        latencies=latencies,
        teacher_quality=TeacherQuality.model_validate(quality) if quality else None,
        warnings=[f"{one}; data.overlap: drop leaves them out" for one in overlaps],
        left_out=left_out,
        exports=[one for candidate, _ in scored if candidate.model for one in read_exports(candidate.model)],
        environment=environment(),
        against=student.against,
        match=student.match,
    )


def settings_of(comparison: Comparison, candidate: Candidate, data: DataConfig) -> ModelSettings:
    """The settings of a candidate's model, with what the report fitted on the validation rows."""
    system = next(one for one in comparison.systems if (one.role, one.name) == (candidate.role, candidate.system))
    temperature = system.metrics.get("temperature")
    seed = system.seeds.index(candidate.seed)
    return ModelSettings(
        sequence_length=data.sequence_length,
        temperature=1.0 if temperature is None else temperature.values[seed],
        escalation_threshold=None if system.cascade is None else system.cascade.thresholds[seed],
    )


def describe_models(comparison: Comparison, candidates: Sequence[Candidate], config: ExperimentConfig, folder: str) -> None:
    """Write a model card with the table for every student, and raykd.json for every model that was trained in ``folder``."""
    for one in candidates:
        if one.variant is not None:
            objective, base = one.variant.summary, config.source_model(one.variant)
            card = model_card(comparison, variant=one.system, seed=one.seed, objective=objective, base=base)
            storage.write_bytes(storage.join(one.model, "README.md"), card.encode())
        if one.model.startswith(folder):
            write_settings(one.model, settings_of(comparison, one, config.data))


def measure_teacher(
    train: tuple[TokenisedSet, SideTable], validation: tuple[TokenisedSet, SideTable], kind: TaskKind
) -> TeacherQuality:
    """Compare the teacher's confidence on its training rows with that on rows it never saw."""
    (train_rows, train_logits), (validation_rows, validation_logits) = train, validation
    return teacher_quality(
        load_logits(train_logits.path),
        load_labels(train_rows.path),
        load_logits(validation_logits.path),
        load_labels(validation_rows.path),
        kind=kind,
    )


def measure_latencies(candidates: Sequence[Candidate], data: DataConfig) -> dict[tuple[str, ...], Latency]:
    """Latency of one model of each system, by the folders of its models."""
    first = {(candidate.role, candidate.system): candidate for candidate in reversed(candidates)}
    systems = sorted({one.parts or (one.model,) for one in first.values() if one.prompted is None})
    return call_on_models(partial(_latencies, systems, data)) if systems else {}


def _latencies(systems: Sequence[tuple[str, ...]], data: DataConfig) -> dict[tuple[str, ...], Latency]:
    """Of each system by the folders of its models, which answer one after the other where there are several.

    Systems of one shape are measured once: what would differ between them is the noise of the machine.
    """
    shapes = {models: tuple(map(_shape, models)) for models in systems}
    measured = {shape: models for models, shape in shapes.items()}
    folders = sorted({model for models in measured.values() for model in models})
    loaded = {model: load_predictor(model, sequence_length=data.sequence_length) for model in folders}
    predictors = {models: one_after_the_other([loaded[model] for model in models]) for models in measured.values()}
    latencies = measure_latency(predictors, sample_rows(data, SAMPLE_ROWS), seconds=LATENCY_SECONDS)
    return {models: latencies[measured[shape]] for models, shape in shapes.items()}


def _shape(model: str) -> str:
    """The part of a model's configuration that its speed depends on."""
    settings = load_config(model).to_dict()
    return json.dumps({key: value for key, value in settings.items() if key != "_name_or_path"}, sort_keys=True, default=str)
