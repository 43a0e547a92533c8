"""A report over thousands of labels: short pages, all classes in report.json, in seconds."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from raykd.metrics.single_label_metrics import _log_odds
from raykd.report.card import model_card
from raykd.report.comparison import Comparison
from raykd.report.files import write_report
from raykd.report.terminal import render

LABELS = tuple(f"class {number}" for number in range(5000))


@pytest.fixture(scope="module")
def many() -> Comparison:
    from raykd.report.comparison import Entry, compare
    from raykd.report.system import Task
    from raykd.task_kinds import SINGLE_LABEL

    dice = np.random.default_rng(1)
    labels = dice.integers(0, len(LABELS), 300)

    def answers(rate: float) -> np.ndarray:
        logits = dice.normal(size=(len(labels), len(LABELS))).astype(np.float32)
        logits[np.arange(len(labels)), labels] += 9 * (dice.random(len(labels)) < rate)
        return logits

    entries = [Entry("teacher", "big", 1, answers(0.9)), Entry("student", "no_kd", 1, answers(0.5))]
    return compare([*entries, Entry("student", "kd", 1, answers(0.7))], Task(SINGLE_LABEL, labels, LABELS), name="intents")


def test_pages_are_short_and_the_file_has_all(many: Comparison, tmp_path: Path) -> None:
    write_report(many, str(tmp_path))
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert len(text.splitlines()) < 150
    assert len(page) < 300_000
    for shown in (page, text):
        assert "20 of 5,000 classes, by the F1 of the student KD" in shown
    content = json.loads((tmp_path / "report.json").read_text())
    assert len(content["systems"][2]["classes"]) == 5000


def test_the_worst_and_the_best_classes_are_shown(many: Comparison, invent: Callable[..., Comparison]) -> None:
    from raykd.report.markdown import class_note, class_table

    _, body = class_table(many)
    assert len(body) == 20 * 3
    scores = [float(line[-1]) for line in body if line[2] == "student, KD"]
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (0.0, 100.0)
    assert all(int(line[1]) > 0 for line in body)
    few = invent(names=("a", "b", "c"), rows=60)
    assert [line[0] for line in class_table(few)[1]] == [label for label in "abc" for _ in few.systems]
    assert class_note(few) == ""


def test_terminal_and_card_are_short(many: Comparison) -> None:
    console = Console(file=StringIO(), width=120)
    console.print(render(many))
    assert len(console.file.getvalue().splitlines()) < 30
    card = model_card(many, variant="kd", seed=1, objective="cross entropy", base="small")
    assert "class 49" in card
    assert "class 50`" not in card
    assert "4,950 more labels" in card


def test_log_odds_are_those_of_each_class_against_the_sum_of_the_others() -> None:
    logits = np.random.default_rng(2).normal(0, 20, (50, 7)).astype(np.float32)
    logits[0] = [80, 0, 0, 0, 0, 0, -80]
    wide = logits.astype(np.float64)
    expected = [wide[:, one] - np.logaddexp.reduce(np.delete(wide, one, axis=1), axis=1) for one in range(7)]
    assert _log_odds(logits) == pytest.approx(np.stack(expected, axis=1), rel=1e-9, abs=1e-9)
