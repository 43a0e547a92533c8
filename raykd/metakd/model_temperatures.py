"""Temperatures of the models of a Meta-KD run, fitted on validation rows and measured on test rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raykd.data.side_tables import SideTable
from raykd.models.model_settings import ModelSettings, write_settings
from raykd.report.load_tables import load_logits
from raykd.report.system import Spread, calibration_metrics
from raykd.task_kinds import SINGLE_LABEL

DomainLabels = Mapping[str, NDArray[Any]]
"""Label ids ``[N]`` by domain."""


@dataclass(frozen=True)
class DomainLogits:
    """Logits of one model on the rows of one domain."""

    system: str
    domain: str
    model: str
    """Its folder; a teacher of several domains has the same for each."""
    validation: NDArray[np.float32]
    test: NDArray[np.float32]


class DomainScores(NamedTuple):
    """Tables with the logits of one model on the rows of one domain."""

    system: str
    domain: str
    model: str
    test: SideTable
    validation: SideTable

    def load(self) -> DomainLogits:
        """The logits themselves."""
        validation, test = (load_logits(side.path) for side in (self.validation, self.test))
        return DomainLogits(self.system, self.domain, self.model, validation, test)


def fit_temperatures(scores: Sequence[DomainLogits], validation: DomainLabels) -> dict[str, float]:
    """The temperature of each model folder by its logits on the validation rows of all of its domains."""
    fitted: dict[str, float] = {}
    for model in dict.fromkeys(one.model for one in scores):
        own = [one for one in scores if one.model == model]
        labels = np.concatenate([validation[one.domain] for one in own])
        temperature = SINGLE_LABEL.temperature(labels, np.concatenate([one.validation for one in own]))
        assert temperature is not None, "classes have probabilities"
        fitted[model] = temperature
    return fitted


def calibration(
    scores: Sequence[DomainLogits], temperatures: Mapping[str, float], test: DomainLabels
) -> dict[str, dict[str, Spread]]:
    """By system, its calibration on the test rows: ECE before and after the temperature, and the temperature.

    A value is that of one model, on the test rows of all of its domains.
    """
    found = {}
    for system in dict.fromkeys(one.system for one in scores):
        models = list(dict.fromkeys(one.model for one in scores if one.system == system))
        own = [[one for one in scores if (one.system, one.model) == (system, model)] for model in models]
        found[system] = calibration_metrics(
            SINGLE_LABEL,
            [np.concatenate([test[one.domain] for one in each]) for each in own],
            [np.concatenate([one.test for one in each]) for each in own],
            [temperatures[model] for model in models],
        )
    return found


def store_temperatures(temperatures: Mapping[str, float], *, sequence_length: int) -> None:
    """Write ``raykd.json`` into the folder of each model."""
    for model, temperature in temperatures.items():
        write_settings(model, ModelSettings(sequence_length=sequence_length, temperature=temperature))
