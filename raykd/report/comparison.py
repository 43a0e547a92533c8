"""Teachers and student variants on the same labelled rows: metrics, verdicts, conclusion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from numpy.typing import NDArray
from pydantic import Field, ValidationError

from raykd.data import storage
from raykd.errors import DataError
from raykd.report.bootstrap import REPLICATES
from raykd.report.cascade import with_cascades
from raykd.report.exports import Export
from raykd.report.footprint import footprint
from raykd.report.history import read_curves
from raykd.report.latency import Latency
from raykd.report.load_tables import load_logits
from raykd.report.record import Record
from raykd.report.scoring_cost import ScoringCost
from raykd.report.system import ROLES, Role, System, Task, TrainingWork, beside_teacher, measure
from raykd.report.teacher_quality import TeacherQuality
from raykd.report.verdicts import SystemContrast, conclusion, contrasts, student_contrasts
from raykd.task_kinds import TaskKind

FORMAT = 3
SELECTED = (
    "the rows of this report are the validation set, which also selected each model's weights: the metrics are too good, by "
    "one to two points at a few hundred rows; give test rows (data.test)"
)


@dataclass(frozen=True)
class Entry:
    """One model of a comparison."""

    role: Role
    name: str
    """Name of its system, for a student its variant: entries with the same role and name differ in their seed."""
    seed: int | None
    """Seed of its training; None for a model that was not trained here."""
    logits: NDArray[Any] | str
    """Logits ``[N, C]`` on the rows of the report, or the side table that holds them."""
    model: str | None = None
    """Folder of the model; None leaves its size out."""
    history: str | None = None
    """History file of its training; None or an absent file leaves the training curves out."""
    parts: tuple[str, ...] = ()
    """Folders of the models whose logits it averages; size and speed are those of all together."""
    validation: NDArray[Any] | str | None = None
    """Logits on the validation rows, or their side table; None leaves calibration out."""
    work: TrainingWork | None = None
    """Size of its training, where it is known."""
    cost: ScoringCost | None = None
    """Cost of its logits; None where they were not scored."""

    @property
    def models(self) -> tuple[str, ...]:
        """Folders of the models that answer."""
        return self.parts or (() if self.model is None else (self.model,))


class Comparison(Record):
    """The content of a report, and of ``report.json``."""

    format: int = FORMAT
    """Version of this layout."""
    name: str
    """The run."""
    rows: int
    """Rows that everything was measured on."""
    rows_fingerprint: str | None = None
    """Fingerprint of the rows; equal for runs that were measured on the same rows."""
    selected: bool = False
    """True for the rows of the validation set, which selected the models: its metrics are too good."""
    labels: tuple[str, ...]
    positive_label: str | None
    """Label whose F1 is `f1`; None unless there are two classes."""
    task: str = "single_label"
    """Kind of the task."""
    headline: str
    """Metric of verdicts and retention: accuracy, exact_match or pearson."""
    table_metrics: tuple[str, ...]
    """Metrics in the columns of the table, the headline metric first."""
    constant_score: float
    """Metric of the model that gives every row the same best answer: accuracy, exact match or RMSE."""
    systems: tuple[System, ...]
    contrasts: tuple[SystemContrast, ...]
    conclusion: tuple[str, ...]
    """Conclusions in sentences; the verdicts on students first."""
    warnings: tuple[str, ...] = ()
    """Caveats about the data and the measurements."""
    left_out: tuple[str, ...] = ()
    """Sentences on training and validation texts that were left out, since a split that is measured on has them."""
    teacher_quality: TeacherQuality | None = None
    """The teacher on its training rows."""
    exports: tuple[Export, ...] = ()
    """Exported files of its models."""
    match: Literal["steps", "epochs"] = "steps"
    """Unit of the length that the trainings of the students have in common."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Date, command, machine, versions."""

    @classmethod
    def load(cls, path: str) -> Self:
        """Read a ``report.json``. Raises DataError when it is not one that this version understands."""
        content = storage.read_json(path)
        given = content.get("format") if isinstance(content, dict) else None
        if given != FORMAT:
            raise DataError(
                f"{path} is a report of format {given}, this raykd reads format {FORMAT}; run the report stage again"
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DataError(f"{path} is not a whole report ({where}: {first['msg']}); run the report stage again") from None

    def verdict(self) -> str:
        """The sentences that matter most, one a line."""
        return "\n".join(self.verdicts)

    @property
    def judged(self) -> tuple[SystemContrast, ...]:
        """Contrasts of two students by the headline metric: with the baseline first; empty with one student."""
        return student_contrasts(self.systems, self.contrasts, self.headline)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """A sentence for each judged contrast, or the reason why there is none."""
        return self.conclusion[: max(len(self.judged), 1)]

    @property
    def notes(self) -> tuple[str, ...]:
        """The other conclusions."""
        return self.conclusion[len(self.verdicts) :]


def compare(
    entries: Sequence[Entry],
    task: Task,
    *,
    name: str,
    latencies: Mapping[tuple[str, ...], Latency] | None = None,
    teacher_quality: TeacherQuality | None = None,
    warnings: Sequence[str] = (),
    left_out: Sequence[str] = (),
    exports: Sequence[Export] = (),
    environment: Mapping[str, str] | None = None,
    against: str | None = None,
    match: Literal["steps", "epochs"] = "steps",
    replicates: int = REPLICATES,
) -> Comparison:
    """Measure every entry on the rows of ``task`` and compare the students.

    Each is compared with the first, the baseline, and with the one named ``against``. ``latencies`` are by the folders of the
    models that answer, mostly one; a system takes that of the first of its entries that has one. ``replicates`` are the
    bootstrap's.
    Raises DataError when logits do not fit the labels or there is no entry; ConfigError for an unknown positive label.
    """
    if not entries:
        raise DataError("a comparison needs the logits of one model at least")
    kind, labels, names = task.kind, task.labels, task.label_names
    groups = _group(entries)
    logits = [[_array(entry.logits) for entry in group] for group in groups]
    validation = [_validation(group) for group in groups]
    temperatures = [_temperatures(kind, one, task.validation_labels) for one in validation]
    systems = _systems(task, groups, logits, latencies or {}, temperatures)
    systems = with_cascades(task, systems, logits, validation, replicates=replicates)
    found = contrasts(task, systems, logits, against=against, replicates=replicates)
    shown = kind.table_metrics(len(names))
    return Comparison(
        name=name,
        rows=len(labels),
        rows_fingerprint=task.fingerprint,
        selected=task.selected,
        labels=names,
        positive_label=(task.positive_label or names[1]) if "f1" in shown else None,
        task=kind.name,
        headline=task.headline,
        table_metrics=shown,
        constant_score=kind.constant_score(labels),
        systems=tuple(systems),
        contrasts=found,
        conclusion=conclusion(task, systems, found),
        warnings=(*([SELECTED] if task.selected else []), *warnings, *(teacher_quality.warnings if teacher_quality else ())),
        left_out=tuple(left_out),
        teacher_quality=teacher_quality,
        exports=tuple(exports),
        match=match,
        environment=dict(environment or {}),
    )


def _systems(
    task: Task,
    groups: Sequence[Sequence[Entry]],
    logits: Sequence[Sequence[NDArray[Any]]],
    latencies: Mapping[tuple[str, ...], Latency],
    temperatures: Sequence[Sequence[float]],
) -> list[System]:
    """Every group measured, students beside the first teacher."""
    teacher = logits[0][0] if groups[0][0].role == "teacher" else None
    systems = [
        _system(task, group, given, teacher, latencies, temperatures=fitted)
        for group, given, fitted in zip(groups, logits, temperatures, strict=True)
    ]
    if teacher is None:
        return systems
    return [one if one.role == "teacher" else beside_teacher(one, systems[0], task.headline) for one in systems]


def _group(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries of one role and name together, teachers first, students in their order."""
    groups: dict[tuple[int, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((ROLES.index(entry.role), entry.name), []).append(entry)
    return [groups[key] for key in sorted(groups, key=lambda key: key[0])]


def _array(logits: NDArray[Any] | str) -> NDArray[Any]:
    return load_logits(logits) if isinstance(logits, str) else logits


def _validation(group: Sequence[Entry]) -> list[NDArray[Any]]:
    """Logits on the validation rows of each entry; empty where some entry has none."""
    given = [entry.validation for entry in group if entry.validation is not None]
    return [_array(one) for one in given] if len(given) == len(group) else []


def _temperatures(kind: TaskKind, validation: Sequence[NDArray[Any]], labels: NDArray[Any] | None) -> list[float]:
    """The temperature of each entry by its logits on the validation rows; empty where outputs are no probabilities."""
    fitted = [] if labels is None else [kind.temperature(labels, one) for one in validation]
    return [one for one in fitted if one is not None]


def _system(
    task: Task,
    group: Sequence[Entry],
    logits: Sequence[NDArray[Any]],
    teacher: NDArray[Any] | None,
    latencies: Mapping[tuple[str, ...], Latency],
    *,
    temperatures: Sequence[float],
) -> System:
    models = [entry.models for entry in group if entry.models]
    histories = [(entry.history, entry.seed) for entry in group if entry.history is not None and storage.exists(entry.history)]
    return measure(
        task,
        role=group[0].role,
        name=group[0].name,
        seeds=[entry.seed for entry in group],
        logits=logits,
        teacher=teacher,
        temperatures=temperatures,
        curves=[read_curves(path, seed=seed) for path, seed in histories],
        footprint=footprint(*models[0]) if models else None,
        work=group[0].work,
        latency=next((latencies[model] for model in models if model in latencies), None),
        cost=group[0].cost,
    )
