"""Comparisons of invented models, as they would come out of a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raykd.report.comparison import Comparison, Entry, compare
from raykd.report.system import Task
from raykd.task_kinds import SINGLE_LABEL
from raykd.trainers.events import Evaluated, GradientShares, TrainingEvent
from tests.training_events import step_metrics, write_events

TASK_OPTIONS = ("positive_label", "selected", "fingerprint")
"""Options of ``invent`` that describe its rows."""


def invent_logits(dice: np.random.Generator, base: np.ndarray, labels: np.ndarray, skill: float) -> np.ndarray:
    """Logits of a model that is the better, the greater ``skill`` is; ``base`` makes the same rows hard for all."""
    logits = base + dice.normal(0, 0.4, base.shape)
    logits[np.arange(len(labels)), labels] += skill
    return logits.astype(np.float32)


def write_history(path: Path, *terms: str) -> str:
    lines: list[TrainingEvent] = []
    for step in range(1, 41):
        lines.append(step_metrics(step, terms=dict.fromkeys(terms, 1 / step)))
        if step % 10 == 0:
            lines.append(Evaluated(step=step, metrics={"accuracy": 1 - 1 / step}, best=False))
            if len(terms) > 1:
                lines.append(GradientShares(step=step, shares={term: 1 / len(terms) for term in terms}))
    return write_events(path, lines)


@pytest.fixture
def invent(tmp_path: Path) -> Callable[..., Comparison]:
    """See :func:`inventor`."""
    return inventor(tmp_path)


def inventor(folder: Path) -> Callable[..., Comparison]:
    """Compares a teacher, students without KD (skill 1.2) and with KD (``gain`` more), ``seeds`` of each."""

    def make(
        *, gain: float = 0.5, seeds: int = 3, rows: int = 600, names: tuple[str, ...] = ("negative", "positive"), **options: Any
    ) -> Comparison:
        dice = np.random.default_rng(1)
        labels = dice.integers(0, len(names), rows)
        base = dice.normal(size=(rows, len(names)))
        entries = [Entry("teacher", "big", 1, invent_logits(dice, base, labels, 2.2), None, write_history(folder / "t", "ce"))]
        for seed in range(1, seeds + 1):
            history = write_history(folder / f"b{seed}", "ce")
            entries.append(Entry("student", "no_kd", seed, invent_logits(dice, base, labels, 1.2), None, history))
            history = write_history(folder / f"k{seed}", "kd_kl", "ce")
            entries.append(Entry("student", "kd", seed, invent_logits(dice, base, labels, 1.2 + gain), None, history))
        task = Task(SINGLE_LABEL, labels, names, **{key: options.pop(key) for key in TASK_OPTIONS if key in options})
        return compare(entries, task, **{"name": "reviews", **options})

    return make
