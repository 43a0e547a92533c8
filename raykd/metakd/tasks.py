"""From a Meta-KD configuration to its training tasks: pure functions, nothing is read or started."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from raykd.config import FineTuneConfig, MetaKDConfig, TrainingConfig
from raykd.config.metakd_objectives import (
    EasyNLPArithmetic,
    MetaDistillationObjective,
    MetaTeacherObjective,
    PredictionObjective,
)
from raykd.config.task_objective import TaskObjective
from raykd.data import storage
from raykd.metakd import DOMAIN_HEAD
from raykd.run.task import ModelFolder, TaskInputs, TaskLabels, TrackedAs, TrainTask, make_task, run_folder
from raykd.stage_names import MetaStageName

TeacherKind = Literal["meta", "mixed", "single"]
Method = Literal["hard_labels", "single_teacher", "mixed_teacher", "meta_teacher", "meta_kd"]
TEACHER_OF: dict[Method, TeacherKind] = {
    "single_teacher": "single",
    "mixed_teacher": "mixed",
    "meta_teacher": "meta",
    "meta_kd": "meta",
}
"""Teacher of each distillation method; all methods but ``meta_kd`` are TinyBERT's two stages."""
INTERMEDIATE = "intermediate"
"""Folder of a student's intermediate-layer distillation, in the student's."""


@dataclass(frozen=True)
class Student:
    """One student: method, domain and seed."""

    method: Method
    domain: str
    seed: int

    @property
    def name(self) -> str:
        """Display name."""
        return f"{self.method.replace('_', ' ')}, {self.domain}, seed {self.seed}"

    @property
    def folder(self) -> str:
        """Its folder, relative to the run's."""
        return f"students/{self.method}/{self.domain}/seed{self.seed}"


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


def task_folders(config: MetaKDConfig) -> list[tuple[MetaStageName, str]]:
    """Stage and folder of every task the run trains."""
    folders: list[tuple[MetaStageName, str]] = [
        ("teachers", teacher_folder(config, kind, domains)) for kind, domains in teachers(config)
    ]
    folders += [("students", student_folder(config, student)) for student in students(config, distilled=False)]
    for student in students(config, distilled=True):
        if config.student.mode == "two_stages":
            folders.append(("students", storage.join(student_folder(config, student), INTERMEDIATE)))
        folders.append(("students", student_folder(config, student)))
    return folders


def count_trainings(config: MetaKDConfig) -> dict[str, int]:
    """Number of models that each stage trains; a student's trainings that follow each other count once."""
    count = sum(len(students(config, distilled=distilled)) for distilled in (True, False))
    return {"teachers": len(teachers(config)), "students": count}


def arithmetic(config: MetaKDConfig) -> EasyNLPArithmetic | None:
    """EasyNLP's arithmetic, where the job asks for it."""
    return EasyNLPArithmetic(sequence_length=config.sequence_length) if config.compat else None


def teacher_folder(config: MetaKDConfig, kind: TeacherKind, domains: Sequence[str]) -> str:
    """The folder of a teacher's task."""
    return storage.join(run_folder(config), teacher_subfolder(kind, domains))


def teacher_subfolder(kind: TeacherKind, domains: Sequence[str]) -> str:
    """The folder of a teacher's task, relative to the run's."""
    return f"teachers/{kind if kind != 'single' else f'single-{domains[0]}'}"


def logits_subfolder(kind: TeacherKind, domains: Sequence[str]) -> str:
    """The folder of a teacher's logits on its training rows, relative to the run's."""
    return f"logits/{kind if kind != 'single' else f'single-{domains[0]}'}"


def teacher_task(config: MetaKDConfig, kind: TeacherKind, domains: Sequence[str], inputs: TaskInputs, digest: str) -> TrainTask:
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
        teacher_folder(config, kind, domains), config.teacher.model, digest, inputs, objective, config.teacher.training,
        config.seed,
    )  # fmt: skip


def label_task(config: MetaKDConfig, student: Student, inputs: TaskInputs, start: ModelFolder) -> TrainTask:
    """Training of a student on hard labels alone; ``start`` is its initial model."""
    folder, training = student_folder(config, student), label_training(config)
    return _task(config, student.name, folder, start.path, start.digest, inputs, FineTuneConfig(), training, student.seed)


def label_training(config: MetaKDConfig) -> TrainingConfig:
    """Training of students on labels alone: that of prediction-layer distillation, with the epochs of both of its stages."""
    intermediate, prediction = config.student.intermediate.training, config.student.prediction.training
    epochs = intermediate.epochs + (prediction.epochs if config.student.mode == "two_stages" else 0)
    return prediction.model_copy(update={"epochs": epochs})


def intermediate_task(
    config: MetaKDConfig, student: Student, inputs: TaskInputs, start: ModelFolder, *, teacher: str, teacher_digest: str
) -> TrainTask:
    """Intermediate-layer distillation, or the single objective, from the initial model ``start``.

    ``teacher`` is the folder of the teacher's task.
    """
    objective = _features(config, student.method, teacher)
    single = config.student.mode == "single"
    folder = student_folder(config, student) if single else storage.join(student_folder(config, student), INTERMEDIATE)
    name = student.name if single else f"{student.name}, intermediate layers"
    training = config.student.intermediate.training
    return _task(
        config, name, folder, start.path, start.digest, inputs, objective, training, student.seed,
        teacher_digest=teacher_digest,
    )  # fmt: skip


def prediction_task(config: MetaKDConfig, student: Student, inputs: TaskInputs, *, after: TrainTask, digest: str) -> TrainTask:
    """Prediction-layer distillation of the model that ``after`` trained, whose hash is ``digest``."""
    stage = config.student.prediction
    objective = PredictionObjective(
        temperature=stage.temperature,
        hard_weight=stage.hard_weight,
        expertise=stage.expertise and student.method == "meta_kd",
        compat=arithmetic(config) if student.method == "meta_kd" else None,
    )
    return _task(
        config, student.name, student_folder(config, student), after.model_folder, digest, inputs, objective, stage.training,
        student.seed,
    )  # fmt: skip


def _features(config: MetaKDConfig, method: Method, teacher: str) -> MetaDistillationObjective:
    intermediate, prediction = config.student.intermediate, config.student.prediction
    given = intermediate.model_dump(exclude={"training"})
    if method != "meta_kd":  # TinyBERT's stage uses neither domains nor expertise
        given |= {"domain_loss_weight": 0.0, "expertise": False}
    if config.student.mode == "single":
        given |= {"soft_weight": 1.0, "temperature": prediction.temperature, "hard_weight": prediction.hard_weight}
    head = storage.join(teacher, f"{DOMAIN_HEAD}.safetensors") if given["domain_loss_weight"] else None
    return MetaDistillationObjective(
        teacher=storage.join(teacher, "model"),
        domain_head=head,
        num_domains=len(config.domains),
        trainings=len(config.student.seeds),
        compat=arithmetic(config) if method == "meta_kd" else None,
        **given,
    )


def student_folder(config: MetaKDConfig, student: Student) -> str:
    """The folder of a student's task."""
    return storage.join(run_folder(config), student.folder)


def _task(  # noqa: PLR0917 (every caller gives all of them)
    config: MetaKDConfig,
    name: str,
    folder: str,
    model: str,
    digest: str,
    inputs: TaskInputs,
    objective: TaskObjective,
    training: TrainingConfig,
    seed: int,
    *,
    teacher_digest: str | None = None,
) -> TrainTask:
    return make_task(
        name=name,
        folder=folder,
        model=ModelFolder(model, digest),
        teacher_digest=teacher_digest,
        labels=TaskLabels(config.labels),
        inputs=inputs,
        objective=objective,
        training=training,
        seed=seed,
        compute=config.compute,
        tracked=TrackedAs(config.tracking, config.name),
    )
