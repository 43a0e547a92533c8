"""From the configuration to training tasks: nothing is started here."""

from collections.abc import Mapping
from dataclasses import dataclass

from raykd.config import ExperimentConfig, FineTuneConfig, ObjectiveConfig, TrainingConfig
from raykd.config.features import FeatureKDConfig, FeatureLossConfig, IntermediateConfig
from raykd.config.stage_names import StageName
from raykd.config.task_objective import TaskObjective
from raykd.data import storage
from raykd.data.folds import Fold
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ConfigError
from raykd.models import label_names, load_config, model_digest
from raykd.run.task import TrainTask, make_task, run_folder
from raykd.task_kinds import label_codec


def teacher_name(config: ExperimentConfig, number: int) -> str:
    """Display name of a teacher: ``teacher``, followed by its number from 1 where there are several."""
    return f"teacher {number + 1}" if config.teachers else "teacher"


def teacher_task(
    config: ExperimentConfig,
    *,
    train: TokenisedSet,
    validation: TokenisedSet,
    digest: str,
    number: int = 0,
    without: Fold | None = None,
) -> TrainTask:
    """Fine-tuning of a teacher, on all rows or ``without`` a fold of them; ``digest`` is the hash of its initial model."""
    teacher = config.every_teacher[number]
    name = teacher_name(config, number)
    return _task(
        config,
        name=name if without is None else f"{name} without fold {without.number + 1}",
        folder=_teacher_folder(config, number, None if without is None else without.number),
        model=teacher.model,
        digest=digest,
        train=train,
        validation=validation,
        logits=None,
        objective=FineTuneConfig(),
        training=teacher.training,
        seed=config.seed,
        without=without,
    )


@dataclass(frozen=True)
class ModelFolder:
    """A model and the hash of its weights."""

    path: str
    digest: str


def model_folder(path: str) -> ModelFolder:
    """A model with the hash of its weights as they are now."""
    return ModelFolder(path, model_digest(path))


def student_tasks(
    config: ExperimentConfig,
    *,
    train: TokenisedSet,
    validation: TokenisedSet,
    logits: SideTable | None,
    digest: str,
    teacher: ModelFolder | None = None,
    initial: Mapping[int, ModelFolder] | None = None,
) -> list[TrainTask]:
    """For each seed the student without distillation, where asked for, and the one with it: same rows, same order.

    ``digest`` is the hash of the student's initial model; ``initial`` replaces that model, by seed, for the distilled students.
    ``teacher`` is needed where their losses on features are joined with the objective.
    """
    student, tasks = config.student, []
    for variant, objective in _variants(config):
        joined = _joined(config, objective, teacher)
        for seed in student.seeds:
            start = ModelFolder(student.model, digest)
            start = initial.get(seed, start) if initial and objective.distils else start
            task = _task(
                config,
                name=f"student {variant.replace('_', ' ')} seed {seed}",
                folder=_student_folder(variant, seed),
                model=start.path,
                digest=start.digest,
                train=train,
                validation=validation,
                logits=logits if objective.distils else None,
                objective=joined,
                training=student.training if objective.distils else _baseline_training(config),
                seed=seed,
                teacher_digest=teacher.digest if teacher and joined is not objective else None,
            )
            tasks.append(task)
    return tasks


def intermediate_tasks(
    config: ExperimentConfig, *, train: TokenisedSet, digest: str, teacher: ModelFolder
) -> dict[int, TrainTask]:
    """For each seed the intermediate-layer distillation that precedes the objective; {} in mode joint."""
    section = config.student.intermediate
    if section is None or section.mode != "before":
        return {}
    return {
        seed: _task(
            config,
            name=f"student kd seed {seed}, intermediate layers",
            folder=_intermediate_folder(seed),
            model=config.student.model,
            digest=digest,
            train=train,
            validation=None,
            logits=None,
            objective=_feature_objective(config, section, teacher),
            training=section.own_training,
            seed=seed,
            teacher_digest=teacher.digest,
        )
        for seed in config.student.seeds
    }


def _joined(config: ExperimentConfig, objective: ObjectiveConfig, teacher: ModelFolder | None) -> TaskObjective:
    """The objective, with the losses on features in mode joint."""
    section = config.student.intermediate
    if section is None or section.mode != "joint" or not objective.distils:
        return objective
    if teacher is None:
        raise ValueError("student.intermediate needs the teacher's model")
    return _feature_objective(config, section, teacher, objective)


def _feature_objective(
    config: ExperimentConfig, section: IntermediateConfig, teacher: ModelFolder, joined: ObjectiveConfig | None = None
) -> FeatureKDConfig:
    given = section.model_dump(include=set(FeatureLossConfig.model_fields))
    return FeatureKDConfig(teacher=teacher.path, trainings=len(config.student.seeds), logit_objective=joined, **given)


def _baseline_training(config: ExperimentConfig) -> TrainingConfig:
    """The student's training, for as many epochs as the distilled student has in all."""
    training, section = config.student.training, config.student.intermediate
    if section is None or section.mode != "before":
        return training
    return training.model_copy(update={"epochs": training.epochs + section.own_training.epochs})


def task_folders(config: ExperimentConfig) -> list[tuple[StageName, str]]:
    """Stage and folder of every task the experiment trains."""
    folders: list[tuple[StageName, str]] = []
    for number, teacher in enumerate(config.every_teacher):
        if teacher.fine_tune:
            each = [None, *range(config.logits.folds or 0)]
            folders += [("teacher", _teacher_folder(config, number, fold)) for fold in each]
    folders += [
        ("students", _student_folder(variant, seed)) for variant, _ in _variants(config) for seed in config.student.seeds
    ]
    section = config.student.intermediate
    if section is not None and section.mode == "before":
        folders += [("students", _intermediate_folder(seed)) for seed in config.student.seeds]
    return [(stage, storage.join(run_folder(config), folder)) for stage, folder in folders]


def _variants(config: ExperimentConfig) -> list[tuple[str, ObjectiveConfig]]:
    """The students of one seed: without distillation where asked for, then with it."""
    student = config.student
    baseline: list[tuple[str, ObjectiveConfig]] = [("no_kd", FineTuneConfig())]
    distilled: list[tuple[str, ObjectiveConfig]] = [("kd", student.objective)]
    return baseline * student.baseline + distilled * student.objective.distils


def _teacher_folder(config: ExperimentConfig, number: int, fold: int | None) -> str:
    folder = f"teachers/{number + 1}" if config.teachers else "teacher"
    return folder if fold is None else f"{folder}/folds/{fold + 1}"


def _intermediate_folder(seed: int) -> str:
    return f"{_student_folder('kd', seed)}/intermediate"


def _student_folder(variant: str, seed: int) -> str:
    return f"students/{variant}-seed{seed}"


def _task(
    config: ExperimentConfig,
    *,
    name: str,
    folder: str,
    model: str,
    digest: str,
    train: TokenisedSet,
    validation: TokenisedSet | None,
    logits: SideTable | None,
    objective: TaskObjective,
    training: TrainingConfig,
    seed: int,
    without: Fold | None = None,
    teacher_digest: str | None = None,
) -> TrainTask:
    return make_task(
        name=name,
        folder=storage.join(run_folder(config), folder),
        model=model,
        model_digest=digest,
        labels=train.labels or _labels_of_unlabelled(config),
        task_kind=config.data.task,
        positive_label=config.data.positive_label,
        train=train,
        validation=validation,
        logits=logits,
        teacher_digest=teacher_digest,
        without=without,
        objective=objective,
        training=training,
        seed=seed,
        compute=config.compute,
        tracking=config.tracking,
        group=config.name,
    )


def _labels_of_unlabelled(config: ExperimentConfig) -> tuple[str, ...]:
    """The names of ``data.labels`` for rows that have none. Raises ConfigError when they are not the teacher's."""
    labels = label_codec(config.data).names
    if config.teacher is not None:
        own = label_names(load_config(config.teacher.model))
        one_output = len(own) == len(labels) == 1
        if not one_output and own != labels and own != tuple(f"LABEL_{index}" for index in range(len(labels))):
            raise ConfigError(
                f"data.labels = {list(labels)}, but the teacher {config.teacher.model} was trained for {list(own)}; rows "
                "without labels do not decide which is right, so set data.labels to the teacher's names in its order"
            )
    return labels
