"""From the configuration to training tasks: nothing is started here."""

from raykd.config import ExperimentConfig, FineTuneConfig, ObjectiveConfig, TrainingConfig
from raykd.config.stage_names import StageName
from raykd.data import storage
from raykd.data.folds import Fold
from raykd.data.prepare import read_labels
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ConfigError
from raykd.models import label_names, load_config
from raykd.run.task import TrainTask, make_task


def run_folder(config: ExperimentConfig) -> str:
    """The folder of everything the experiment makes; absolute, since workers may run elsewhere."""
    return storage.join(storage.absolute(config.storage), config.name)


def cache_folder(config: ExperimentConfig) -> str:
    """The folder of prepared data, shared by all experiments of one storage."""
    return storage.join(storage.absolute(config.storage), "cache")


def teacher_name(config: ExperimentConfig, number: int) -> str:
    """What a teacher is called: ``teacher``, or with its number from 1 where there are several."""
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


def student_tasks(
    config: ExperimentConfig, *, train: TokenisedSet, validation: TokenisedSet, logits: SideTable | None, digest: str
) -> list[TrainTask]:
    """For each seed the student without distillation, where asked for, and the one with it: same rows, same order."""
    student = config.student
    return [
        _task(
            config,
            name=f"student {variant.replace('_', ' ')} seed {seed}",
            folder=_student_folder(variant, seed),
            model=student.model,
            digest=digest,
            train=train,
            validation=validation,
            logits=logits if objective.distils else None,
            objective=objective,
            training=student.training,
            seed=seed,
        )
        for variant, objective in _variants(config)
        for seed in student.seeds
    ]


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
    validation: TokenisedSet,
    logits: SideTable | None,
    objective: ObjectiveConfig,
    training: TrainingConfig,
    seed: int,
    without: Fold | None = None,
) -> TrainTask:
    return make_task(
        name=name,
        folder=storage.join(run_folder(config), folder),
        model=model,
        model_digest=digest,
        labels=train.labels or _labels_of_unlabelled(config),
        positive_label=config.data.positive_label,
        train=train,
        validation=validation,
        logits=logits,
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
    labels = read_labels(config.data.labels)
    if config.teacher is not None:
        own = label_names(load_config(config.teacher.model))
        if own != labels and own != tuple(f"LABEL_{index}" for index in range(len(labels))):
            raise ConfigError(
                f"data.labels = {list(labels)}, but the teacher {config.teacher.model} was trained for {list(own)}; rows "
                "without labels cannot tell which is right, so set data.labels to the teacher's names in its order"
            )
    return labels
