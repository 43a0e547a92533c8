"""Settings of a server, and the checks that need neither Ray nor a loaded model."""

from dataclasses import dataclass, fields
from typing import Any, cast, get_args

from raykd.data import storage
from raykd.errors import ConfigError
from raykd.serve.answers import check_labels
from raykd.serve.prediction_service import PredictionService, ScoreTexts, TeacherBehind
from raykd.serve.served_folder import served_folder
from raykd.serve.served_model import Format, ModelDescription


@dataclass(frozen=True)
class ServedApplication:
    """Settings of the server."""

    student: str
    """Model folder."""
    teacher: str | None = None
    """Model folder of the teacher behind it; None for no cascade."""
    threshold: float | None = None
    """Confidence below which the teacher answers; None: the one of the student's raykd.json."""
    form: Format = "torch"
    int8: bool = False
    threads: int = 1
    """CPU threads of a replica."""
    replicas: tuple[int, int] = (1, 1)
    """Fewest and most replicas of the student."""


def command_settings(
    model: str, teacher: str | None, *, threshold: float | None, form: str, int8: bool, replicas: str, threads: int
) -> ServedApplication:
    """Settings of the command line; runs become the folders of their models. Raises ConfigError."""
    if form not in get_args(Format):
        raise ConfigError(f"--format {form}: there is no such format; use {', '.join(get_args(Format))}")
    numbers = replicas.split(",")
    if len(numbers) > 2 or not all(one.strip().isdecimal() for one in numbers):
        raise ConfigError(f"--replicas {replicas} is not MIN,MAX; give one or two numbers, for example 1,4")
    low, high = int(numbers[0]), int(numbers[-1])
    if not 1 <= low <= high:
        raise ConfigError(f"--replicas {replicas}: the first number is at least 1 and at most the second")
    return ServedApplication(
        student=storage.absolute(served_folder(model)),
        teacher=None if teacher is None else storage.absolute(teacher),
        threshold=threshold,
        form=cast(Format, form),
        int8=int8,
        threads=threads,
        replicas=(low, high),
    )


def read_arguments(arguments: dict[str, Any]) -> ServedApplication:
    """Settings from the ``args`` of a Serve configuration file. Raises ConfigError for unknown or missing ones."""
    known = [field.name for field in fields(ServedApplication)]
    if unknown := sorted(set(arguments) - set(known)):
        raise ConfigError(f"args.{unknown[0]}: there is no such setting; there are {', '.join(known)}")
    if "student" not in arguments:
        raise ConfigError("args.student is missing; give the folder of a model, or of a run")
    low, high = arguments.get("replicas", (1, 1))
    folder = served_folder(arguments["student"])
    return ServedApplication(**{**arguments, "student": folder, "replicas": (low, high)})


def service_of(settings: ServedApplication, score: ScoreTexts, score_teacher: ScoreTexts | None) -> PredictionService:
    """The service of a student, and of a teacher where there is one. Raises ConfigError when the two do not fit."""
    student = ModelDescription.read(settings.student)
    if settings.teacher is None or score_teacher is None:
        return PredictionService(student, score)
    teacher = ModelDescription.read(settings.teacher)
    return PredictionService(student, score, TeacherBehind(teacher, score_teacher, threshold_of(settings, student, teacher)))


def threshold_of(settings: ServedApplication, student: ModelDescription, teacher: ModelDescription) -> float:
    """The confidence below which the teacher answers. Raises ConfigError when there is none, or the labels differ."""
    difference = check_labels(student, teacher)
    if difference is not None:
        raise ConfigError(f"--teacher {teacher.folder} cannot answer for {student.folder}: {difference}; give its own teacher")
    if student.task == "regression":
        raise ConfigError(
            "--teacher: a regression has no confidence that could decide which rows go to the teacher; leave it out"
        )
    threshold = student.settings.escalation_threshold if settings.threshold is None else settings.threshold
    if threshold is None:
        raise ConfigError(
            f"--teacher: {student.folder} has no escalation_threshold in raykd.json, which the report of a run writes; give "
            "--threshold, a confidence between 0 and 1"
        )
    return threshold
