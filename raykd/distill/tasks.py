"""From the configuration to training tasks: nothing is started here."""

from dataclasses import dataclass

from raykd.config import ExperimentConfig, FineTuneConfig, ObjectiveConfig, StudentVariant, TrainingConfig
from raykd.config.features import FeatureKDConfig, FeatureLossConfig, IntermediateConfig
from raykd.config.task_objective import TaskObjective
from raykd.config.teacher_kinds import TeacherConfig
from raykd.data import storage
from raykd.data.folds import Fold
from raykd.data.mixed_plan import check_rows
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.training_length import TrainingLength
from raykd.errors import ConfigError, list_values
from raykd.models import label_names, load_config
from raykd.report.system import TrainingWork
from raykd.run.task import ModelFolder, TaskInputs, TaskLabels, TrackedAs, TrainTask, make_task, run_folder
from raykd.stage_names import StageName
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
    assert isinstance(teacher, TeacherConfig), "a language model is used as it is"
    name = teacher_name(config, number)
    return _task(
        config,
        name=name if without is None else f"{name} without fold {without.number + 1}",
        folder=_teacher_folder(config, number, None if without is None else without.number),
        model=ModelFolder(teacher.model, digest),
        inputs=TaskInputs(train, validation, without=without),
        objective=FineTuneConfig(),
        training=teacher.training,
        seed=config.seed,
    )


@dataclass(frozen=True)
class StudentInputs:
    """The rows, the initial weights and the length of training of one student variant."""

    variant: StudentVariant
    start: ModelFolder
    """Its initial model."""
    tokenizer: str
    """Folder or name of the tokenizer of its rows."""
    train: TokenisedSet
    validation: TokenisedSet
    logits: SideTable | None
    """The teacher's logits on its training rows; None unless it distils."""
    length: TrainingLength
    teacher: ModelFolder | None = None
    """The model whose layers it learns from; None unless it does."""

    @property
    def work(self) -> TrainingWork:
        """Size of the training, for the report."""
        return TrainingWork(
            rows=self.train.num_rows,
            labelled=self.train.num_labelled,
            steps=self.length.steps,
            matched=self.length.matched,
        )


def student_task(
    config: ExperimentConfig, inputs: StudentInputs, seed: int, *, initial: ModelFolder | None = None
) -> TrainTask:
    """The training of a variant with one seed; ``initial`` is the result of a training before, which it starts from."""
    variant = inputs.variant
    objective, distils = _joined(config, inputs), variant.student.objective.distils
    return _task(
        config,
        name=f"{student_name(variant.name)} seed {seed}",
        folder=_student_folder(variant.name, seed),
        model=initial or inputs.start,
        inputs=TaskInputs(
            inputs.train,
            inputs.validation,
            inputs.logits if distils else None,
            unlabelled_fraction=_unlabelled_fraction(config, inputs.train, batch_size=inputs.length.training.batch_size),
        ),
        objective=objective,
        training=inputs.length.training,
        seed=seed,
        teacher_digest=inputs.teacher.digest if inputs.teacher and isinstance(objective, FeatureKDConfig) else None,
    )


def intermediate_task(config: ExperimentConfig, inputs: StudentInputs, seed: int) -> TrainTask | None:
    """The intermediate-layer distillation that precedes a variant's objective; None without one, or in mode joint."""
    section = inputs.variant.student.intermediate
    if section is None or inputs.teacher is None or not inputs.variant.has_intermediate_task:
        return None
    return _task(
        config,
        name=f"{student_name(inputs.variant.name)} seed {seed}, intermediate layers",
        folder=_intermediate_folder(inputs.variant.name, seed),
        model=inputs.start,
        inputs=TaskInputs(
            inputs.train,
            None,
            unlabelled_fraction=_unlabelled_fraction(config, inputs.train, batch_size=section.own_training.batch_size),
        ),
        objective=_feature_objective(config, section, inputs.teacher),
        training=section.own_training,
        seed=seed,
        teacher_digest=inputs.teacher.digest,
    )


def student_name(variant: str) -> str:
    """Display name of a variant's trainings, without their seed."""
    return f"student {variant.replace('_', ' ')}"


def _joined(config: ExperimentConfig, inputs: StudentInputs) -> TaskObjective:
    """The objective, with the losses on features in mode joint."""
    student = inputs.variant.student
    if student.intermediate is None or student.intermediate.mode != "joint":
        return student.objective
    if inputs.teacher is None:
        raise ValueError("student.intermediate needs the teacher's model")
    return _feature_objective(config, student.intermediate, inputs.teacher, student.objective)


def _feature_objective(
    config: ExperimentConfig, section: IntermediateConfig, teacher: ModelFolder, joined: ObjectiveConfig | None = None
) -> FeatureKDConfig:
    given = section.model_dump(include=set(FeatureLossConfig.model_fields))
    return FeatureKDConfig(teacher=teacher.path, trainings=len(config.student.seeds), logit_objective=joined, **given)


def task_folders(config: ExperimentConfig) -> list[tuple[StageName, str]]:
    """Stage and folder of every task the experiment trains."""
    folders: list[tuple[StageName, str]] = []
    for number, teacher in enumerate(config.every_teacher):
        if teacher.fine_tune:
            each = [None, *range(config.logits.folds or 0)]
            folders += [("teacher", _teacher_folder(config, number, fold)) for fold in each]
    for variant in config.student_variants:
        for seed in config.student.seeds:
            folders.append(("students", _student_folder(variant.name, seed)))
            if variant.has_intermediate_task:
                folders.append(("students", _intermediate_folder(variant.name, seed)))
    return [(stage, storage.join(run_folder(config), folder)) for stage, folder in folders]


def teacher_models(config: ExperimentConfig) -> list[tuple[str, str, bool]]:
    """Name of each classifier among the teachers, its folder relative to the run's, and False; its model and True where given.

    A teacher is given unless it is fine-tuned.
    """
    return [
        (teacher_name(config, number), f"{_teacher_folder(config, number, None)}/model", False)
        if one.fine_tune
        else (teacher_name(config, number), one.model, True)
        for number, one in enumerate(config.every_teacher)
        if isinstance(one, TeacherConfig)
    ]


def student_models(config: ExperimentConfig) -> list[tuple[str, int, str]]:
    """Variant, seed and folder, relative to the run's, of each student."""
    seeds = config.student.seeds
    return [(one.name, seed, f"{_student_folder(one.name, seed)}/model") for one in config.student_variants for seed in seeds]


def count_trainings(config: ExperimentConfig) -> dict[str, int]:
    """Number of models that each stage trains; a student's trainings that follow each other count once."""
    folds = 1 + (config.logits.folds or 0)
    students = len(config.student_variants) * len(config.student.seeds)
    return {"teacher": folds * sum(one.fine_tune for one in config.every_teacher), "students": students}


def _teacher_folder(config: ExperimentConfig, number: int, fold: int | None) -> str:
    folder = f"teachers/{number + 1}" if config.teachers else "teacher"
    return folder if fold is None else f"{folder}/folds/{fold + 1}"


def _intermediate_folder(variant: str, seed: int) -> str:
    return f"{_student_folder(variant, seed)}/intermediate"


def _student_folder(variant: str, seed: int) -> str:
    return f"students/{variant}-seed{seed}"


def _task(
    config: ExperimentConfig,
    *,
    name: str,
    folder: str,
    model: ModelFolder,
    inputs: TaskInputs,
    objective: TaskObjective,
    training: TrainingConfig,
    seed: int,
    teacher_digest: str | None = None,
) -> TrainTask:
    names = inputs.train.labels or _labels_of_unlabelled(config)
    return make_task(
        name=name,
        folder=storage.join(run_folder(config), folder),
        model=model,
        labels=TaskLabels(names, config.data.task, config.data.positive_label),
        inputs=inputs,
        teacher_digest=teacher_digest,
        objective=objective,
        training=training,
        seed=seed,
        compute=config.compute,
        tracked=TrackedAs(config.tracking, config.name),
    )


def _unlabelled_fraction(config: ExperimentConfig, train: TokenisedSet, *, batch_size: int) -> float | None:
    """The share of unlabelled rows in the batches of a set; None without such rows. Raises ConfigError; see `check_rows`."""
    fraction, labelled = config.data.unlabelled_fraction, train.num_labelled
    if fraction is None or labelled == train.num_rows:
        return None
    check_rows(labelled, train.num_rows - labelled, batch_size=batch_size, fraction=fraction)
    return fraction


def _labels_of_unlabelled(config: ExperimentConfig) -> tuple[str, ...]:
    """The names of ``data.labels`` for rows that have none. Raises ConfigError when they are not the teacher's."""
    labels = label_codec(config.data).names
    if isinstance(config.teacher, TeacherConfig):
        own = label_names(load_config(config.teacher.model))
        one_output = len(own) == len(labels) == 1
        if not one_output and own != labels and own != tuple(f"LABEL_{index}" for index in range(len(labels))):
            raise ConfigError(
                f"data.labels = {list_values(labels)}, but the teacher {config.teacher.model} was trained for "
                f"{list_values(own)}; rows without labels do not decide which is right, so set "
                "data.labels to the teacher's names in its order"
            )
    return labels
