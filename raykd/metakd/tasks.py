"""From a Meta-KD configuration to its training tasks: pure functions, nothing is read or started."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from raykd.config import FineTuneConfig, MetaKDConfig, TrainingConfig
from raykd.config.metakd import EasyNLPArithmetic, MetaDistillationObjective, MetaTeacherObjective, PredictionObjective
from raykd.config.stage_names import META_STAGES, MetaStageName
from raykd.data import storage
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.metakd import DOMAIN_HEAD
from raykd.run.task import TaskObjective, TrainTask, make_task

TeacherKind = Literal["meta", "mixed", "single"]
Method = Literal["hard_labels", "single_teacher", "mixed_teacher", "meta_teacher", "meta_kd"]
TEACHER_OF: dict[Method, TeacherKind] = {
    "single_teacher": "single",
    "mixed_teacher": "mixed",
    "meta_teacher": "meta",
    "meta_kd": "meta",
}
"""Whose student a method trains; TinyBERT's two stages, but for ``meta_kd``."""


@dataclass(frozen=True)
class Rows:
    """What a task reads."""

    train: TokenisedSet
    validation: TokenisedSet | None
    logits: SideTable | None = None
    side_tables: tuple[SideTable, ...] = ()


@dataclass(frozen=True)
class Student:
    """One student: how, for which domain, with which seed."""

    method: Method
    domain: str
    seed: int

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.method.replace('_', ' ')}, {self.domain}, seed {self.seed}"

    @property
    def folder(self) -> str:
        """Its folder, in the run's."""
        return f"students/{self.method}/{self.domain}/seed{self.seed}"


def run_folder(config: MetaKDConfig) -> str:
    """The folder of everything the run makes; absolute, since workers may run elsewhere."""
    return storage.join(storage.absolute(config.storage), config.name)


def cache_folder(config: MetaKDConfig) -> str:
    """The folder of prepared data, shared by all runs of one storage; absolute too."""
    return storage.join(storage.absolute(config.storage), "cache")


def methods(config: MetaKDConfig) -> tuple[Method, ...]:
    """The student's rows of the table, meta-distillation last."""
    known: tuple[Method, ...] = ("hard_labels", "single_teacher", "mixed_teacher", "meta_teacher")
    return (*(method for method in known if method in config.baselines), "meta_kd")


def students(config: MetaKDConfig, *, distilled: bool) -> list[Student]:
    """The students that are distilled, or those on labels alone."""
    chosen = [method for method in methods(config) if (method in TEACHER_OF) is distilled]
    return [
        Student(method, domain, seed) for method in chosen for domain in config.chosen_domains for seed in config.student.seeds
    ]


def teachers(config: MetaKDConfig) -> list[tuple[TeacherKind, tuple[str, ...]]]:
    """Every teacher and the domains it is trained on."""
    kinds = {TEACHER_OF[method] for method in methods(config) if method in TEACHER_OF}
    found: list[tuple[TeacherKind, tuple[str, ...]]] = [("meta", config.domains)]
    if "mixed" in kinds:
        found.append(("mixed", config.domains))
    if "single" in kinds:
        found += [("single", (domain,)) for domain in config.chosen_domains]
    return found


def outline(config: MetaKDConfig, only: Sequence[MetaStageName] = ()) -> str:
    """What a run would do, a line for each stage asked for, said without doing any of it."""
    student, compute = config.student, config.compute
    stages = "the single objective" if student.mode == "single" else "stage first and second"
    distilled = [method for method in methods(config) if method in TEACHER_OF]
    source = config.reviews.folder if config.reviews else ", ".join(config.data.train if config.data else ())
    said: dict[MetaStageName, str] = {
        "split": source,
        "weights": f"{config.weights.kind}, from {config.weights.encoder or config.teacher.model}",
        "teachers": f"{len(teachers(config))} of {config.teacher.model}",
        "logits": f"of {', '.join(dict.fromkeys(kind for kind, _ in teachers(config)))} teachers on their training rows",
        "students": f"{len(students(config, distilled=True))} of {student.model}, {stages}: {', '.join(distilled)}; "
        f"{', '.join(config.chosen_domains)}; seeds {', '.join(map(str, student.seeds))}; "
        f"{len(students(config, distilled=False))} on hard labels",
        "evaluation": "test rows of each domain",
        "report": "report.json, report.md",
    }
    head = [
        f"{config.name} -> {run_folder(config)}",
        f"{compute.workers_text} x {compute.cpus_per_worker} CPUs",
    ]
    return "\n".join(head + [f"  {name:<11}{said[name]}" for name in META_STAGES if not only or name in only])


def arithmetic(config: MetaKDConfig) -> EasyNLPArithmetic | None:
    """EasyNLP's, where it is asked for."""
    return EasyNLPArithmetic(sequence_length=config.sequence_length) if config.compat else None


def teacher_folder(config: MetaKDConfig, kind: TeacherKind, domains: Sequence[str]) -> str:
    """The folder of a teacher's task."""
    name = kind if kind != "single" else f"single-{domains[0]}"
    return storage.join(run_folder(config), "teachers", name)


def teacher_task(config: MetaKDConfig, kind: TeacherKind, domains: Sequence[str], rows: Rows, digest: str) -> TrainTask:
    """Training of a teacher; ``digest`` is the hash of its initial model."""
    objective: TaskObjective = FineTuneConfig()
    if kind == "meta":
        fields = ("domain_loss_weight", "domain_loss", "weigh_domain_loss")
        objective = MetaTeacherObjective(
            num_domains=len(config.domains),
            compat=arithmetic(config),
            **{field: getattr(config.teacher, field) for field in fields},
        )
    return _task(
        config, f"{kind} teacher" + (f", {domains[0]}" if kind == "single" else ""),
        teacher_folder(config, kind, domains), config.teacher.model, digest, rows, objective, config.teacher.training,
        config.seed,
    )  # fmt: skip


def label_task(config: MetaKDConfig, student: Student, rows: Rows, digest: str) -> TrainTask:
    """The student on hard labels alone."""
    folder, training = _folder(config, student), label_training(config)
    return _task(config, student.name, folder, config.student.model, digest, rows, FineTuneConfig(), training, student.seed)


def label_training(config: MetaKDConfig) -> TrainingConfig:
    """How students on labels alone are trained: as stage second says, for as many epochs as a distilled student has in all."""
    first, second = config.student.intermediate.training, config.student.prediction.training
    epochs = first.epochs if config.student.mode == "single" else first.epochs + second.epochs
    return second.model_copy(update={"epochs": epochs})


def first_task(
    config: MetaKDConfig, student: Student, rows: Rows, digest: str, *, teacher: str, teacher_digest: str
) -> TrainTask:
    """Stage first, or the single objective; ``teacher`` is the folder of the teacher's task."""
    objective = _features(config, student.method, teacher)
    single = config.student.mode == "single"
    folder = _folder(config, student) if single else storage.join(_folder(config, student), "first")
    name = student.name if single else f"{student.name}, stage first"
    training = config.student.intermediate.training
    return _task(
        config, name, folder, config.student.model, digest, rows, objective, training, student.seed,
        teacher_digest=teacher_digest,
    )  # fmt: skip


def second_task(config: MetaKDConfig, student: Student, rows: Rows, *, first: TrainTask, digest: str) -> TrainTask:
    """Stage second, from the model of stage first, whose hash is ``digest``."""
    stage = config.student.prediction
    objective = PredictionObjective(
        temperature=stage.temperature,
        hard_weight=stage.hard_weight,
        expertise=stage.expertise and student.method == "meta_kd",
        compat=arithmetic(config) if student.method == "meta_kd" else None,
    )
    return _task(
        config, student.name, _folder(config, student), first.model_folder, digest, rows, objective, stage.training,
        student.seed,
    )  # fmt: skip


def _features(config: MetaKDConfig, method: Method, teacher: str) -> MetaDistillationObjective:
    stage, second = config.student.intermediate, config.student.prediction
    given = stage.model_dump(exclude={"training"})
    if method != "meta_kd":  # TinyBERT's stage knows neither domains nor expertise
        given |= {"domain_loss_weight": 0.0, "expertise": False}
    if config.student.mode == "single":
        given |= {"soft_weight": 1.0, "temperature": second.temperature, "hard_weight": second.hard_weight}
    head = storage.join(teacher, f"{DOMAIN_HEAD}.safetensors") if given["domain_loss_weight"] else None
    return MetaDistillationObjective(
        teacher=storage.join(teacher, "model"),
        domain_head=head,
        num_domains=len(config.domains),
        trainings=len(config.student.seeds),
        compat=arithmetic(config) if method == "meta_kd" else None,
        **given,
    )


def _folder(config: MetaKDConfig, student: Student) -> str:
    return storage.join(run_folder(config), student.folder)


def _task(  # noqa: PLR0917 (every caller gives all of them)
    config: MetaKDConfig,
    name: str,
    folder: str,
    model: str,
    digest: str,
    rows: Rows,
    objective: TaskObjective,
    training: TrainingConfig,
    seed: int,
    *,
    teacher_digest: str | None = None,
) -> TrainTask:
    return make_task(
        name=name,
        folder=folder,
        model=model,
        model_digest=digest,
        teacher_digest=teacher_digest,
        labels=config.labels,
        train=rows.train,
        validation=rows.validation,
        logits=rows.logits,
        side_tables=rows.side_tables,
        objective=objective,
        training=training,
        seed=seed,
        compute=config.compute,
        tracking=config.tracking,
        group=config.name,
    )
