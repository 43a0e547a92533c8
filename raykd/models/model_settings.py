"""``raykd.json`` in a model folder: how the model's texts are cut and its logits become probabilities."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from raykd.data import storage
from raykd.errors import ModelError

FILE = "raykd.json"


@dataclass(frozen=True)
class ModelSettings:
    """Settings of a trained model that transformers' config.json has no place for."""

    sequence_length: int | None = None
    """Tokens that its rows were cut to in training; None where unknown."""
    temperature: float = 1.0
    """Divisor of its logits before they become probabilities, fitted on validation rows; 1 leaves them as they are."""
    escalation_threshold: float | None = None
    """Confidence below which a cascade asks the teacher, chosen on validation rows; None where none was."""


def read_settings(model: str) -> ModelSettings:
    """The settings of a model folder; the defaults where it has none. Raises ModelError for values that cannot be."""
    path = storage.join(model, FILE)
    if not storage.exists(path):
        return ModelSettings()
    content = storage.read_json(path)
    known = {field.name for field in fields(ModelSettings)}
    if not isinstance(content, dict) or not set(content) <= known:
        raise ModelError(f"{path} is not of this version of raykd: it may hold {', '.join(sorted(known))}; remove it")
    _check(content, path)
    return ModelSettings(**content)


def write_settings(model: str, settings: ModelSettings) -> None:
    """Write ``raykd.json``; what is there is replaced."""
    storage.write_json(storage.join(model, FILE), asdict(settings))


def _check(content: dict[str, Any], path: str) -> None:
    length = content.get("sequence_length")
    numbers = {name: content[name] for name in ("temperature", "escalation_threshold") if content.get(name) is not None}
    wrong = {name: value for name, value in numbers.items() if isinstance(value, bool) or not isinstance(value, int | float)}
    if wrong or (length is not None and not (isinstance(length, int) and length > 0)):
        raise ModelError(f"{path}: sequence_length is a positive integer, the other settings are numbers; found {content}")
    temperature = content.get("temperature", 1.0)
    if temperature is None or not (math.isfinite(temperature) and temperature > 0):
        raise ModelError(f"{path}: temperature {temperature} is not a number above 0; fit it again, or remove the file")
