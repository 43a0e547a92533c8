"""Settings of a server, and the checks that need neither Ray nor a loaded model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

from raykd.config.paths import expand_home
from raykd.data import storage
from raykd.errors import ConfigError
from raykd.serve.answers import check_labels
from raykd.serve.prediction_service import PredictionService, ScoredTexts, ScoreTexts, TeacherBehind
from raykd.serve.served_folder import served_folder
from raykd.serve.served_model import Format, ModelDescription, exported_file


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


@dataclass(frozen=True)
class SettingNames:
    """Names of the settings where a user has written them, for errors."""

    in_file: bool
    """True for the ``args`` of a Serve configuration file, false for the command line."""

    def name(self, field: str) -> str:
        """Name of a field of :class:`ServedApplication`."""
        return f"args.{field}" if self.in_file else f"--{'format' if field == 'form' else field}"

    def given(self, field: str, value: object) -> str:
        """The name with its value."""
        if isinstance(value, list | tuple):
            value = ",".join(map(str, value))
        return f"{self.name(field)} = {value}" if self.in_file else f"{self.name(field)} {value}"


COMMAND, FILE = SettingNames(in_file=False), SettingNames(in_file=True)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_path(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_range(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_count, value)) and value[0] <= value[1]


_ALLOWED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "student": (_is_path, "give the folder of a model, or of a run"),
    "teacher": (lambda value: value is None or _is_path(value), "give the folder of a model, or leave it out"),
    "threshold": (
        lambda value: value is None or _is_fraction(value),
        "give a confidence between 0 and 1, or leave it out for the student's own",
    ),
    "form": (lambda value: value in get_args(Format), f"there is no such format; use {', '.join(get_args(Format))}"),
    "int8": (lambda value: isinstance(value, bool), "give true or false"),
    "threads": (_is_count, "give a whole number of at least 1"),
    "replicas": (_is_range, "give one or two whole numbers; the first number is at least 1 and at most the second"),
}
"""For each setting the test of a value, and the advice where it fails."""


def _validated(values: Mapping[str, Any], names: SettingNames) -> ServedApplication:
    """Settings from their values; a run becomes the folder of its model. Raises ConfigError for a value that is not allowed."""
    values = dict(values)
    replicas = values.get("replicas", (1, 1))
    if isinstance(replicas, list | tuple):
        values["replicas"] = (*replicas, *replicas) if len(replicas) == 1 else tuple(replicas)
    elif isinstance(replicas, int):
        values["replicas"] = (replicas, replicas)
    for field, value in values.items():
        is_allowed, advice = _ALLOWED[field]
        if not is_allowed(value):
            raise ConfigError(f"{names.given(field, value)}: {advice}")
    values["student"] = storage.absolute(served_folder(expand_home(values["student"])))
    if values.get("teacher") is not None:
        teacher = expand_home(values["teacher"])
        if not storage.is_dir(teacher):
            raise ConfigError(f"{names.given('teacher', teacher)} does not exist; {_ALLOWED['teacher'][1]}")
        values["teacher"] = storage.absolute(teacher)
    return ServedApplication(**values)


def command_settings(
    model: str, teacher: str | None, *, threshold: float | None, form: str, int8: bool, replicas: str, threads: int
) -> ServedApplication:
    """Settings of the command line; runs become the folders of their models. Raises ConfigError."""
    numbers = replicas.split(",")
    if len(numbers) > 2 or not all(one.strip().isdecimal() for one in numbers):
        raise ConfigError(f"--replicas {replicas} is not MIN,MAX; give one or two numbers, for example 1,4")
    values = {"student": model, "teacher": teacher, "threshold": threshold, "form": form, "int8": int8, "threads": threads}
    return _validated(values | {"replicas": [int(one) for one in numbers]}, COMMAND)


def read_arguments(arguments: Mapping[str, Any]) -> ServedApplication:
    """Settings from the ``args`` of a Serve configuration file. Raises ConfigError for unknown, missing and wrong ones."""
    known = [field.name for field in fields(ServedApplication)]
    if unknown := sorted(set(arguments) - set(known)):
        raise ConfigError(f"args.{unknown[0]}: there is no such setting; there are {', '.join(known)}")
    if "student" not in arguments:
        raise ConfigError("args.student is missing; give the folder of a model, or of a run")
    return _validated(arguments, FILE)


def check_served(settings: ServedApplication, names: SettingNames = COMMAND) -> None:
    """Find errors in the model folders before anything is loaded. Raises ConfigError, ModelError."""
    if settings.int8 and settings.form != "onnx":
        given = "--int8" if names is COMMAND else names.given("int8", True)
        add = "add --format onnx" if names is COMMAND else "set args.form to onnx"
        raise ConfigError(f"{given} is a form of the ONNX file; {add}")
    if settings.threshold is not None and settings.teacher is None:
        raise ConfigError(
            f"{names.given('threshold', settings.threshold)} hands texts on to a teacher; give its folder with "
            f"{names.name('teacher')}"
        )
    if settings.form != "torch":
        exported_file(settings.student, settings.form, int8=settings.int8)
    service_of(settings, _unreachable, None if settings.teacher is None else _unreachable, names)


async def _unreachable(_: object) -> ScoredTexts:
    raise AssertionError("only checked, never asked")


def service_of(
    settings: ServedApplication, score: ScoreTexts, score_teacher: ScoreTexts | None, names: SettingNames = COMMAND
) -> PredictionService:
    """The service of a student, and of a teacher where there is one. Raises ConfigError when the two do not fit."""
    student = ModelDescription.read(settings.student)
    if settings.teacher is None or score_teacher is None:
        return PredictionService(student, score)
    teacher = ModelDescription.read(settings.teacher)
    threshold = threshold_of(settings, student, teacher, names)
    return PredictionService(student, score, TeacherBehind(teacher, score_teacher, threshold))


def threshold_of(
    settings: ServedApplication, student: ModelDescription, teacher: ModelDescription, names: SettingNames = COMMAND
) -> float:
    """The confidence below which the teacher answers. Raises ConfigError when there is none, or the labels differ."""
    difference = check_labels(student, teacher)
    name = names.name("teacher")
    if difference is not None:
        given = names.given("teacher", teacher.folder)
        raise ConfigError(f"{given} cannot answer for {student.folder}: {difference}; give its own teacher")
    if student.task == "regression":
        raise ConfigError(
            f"{name}: a regression has no confidence that could decide which rows go to the teacher; leave it out"
        )
    threshold = student.settings.escalation_threshold if settings.threshold is None else settings.threshold
    if threshold is None:
        raise ConfigError(
            f"{name}: {student.folder} has no escalation_threshold in raykd.json, which the report of a run writes; give "
            f"{names.name('threshold')}, a confidence between 0 and 1"
        )
    return threshold
