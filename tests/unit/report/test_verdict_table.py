"""Sentences and the table of many verdicts."""

import numpy as np
import pytest

from raykd.report.card import model_card
from raykd.report.comparison import Comparison, Entry, compare
from raykd.report.runs_page import runs_html
from raykd.report.system import Task
from raykd.report.verdict_table import has_many_verdicts, judged_table, verdict_lines, verdict_table
from raykd.report.verdicts import chance
from raykd.task_kinds import SINGLE_LABEL

LABELS = np.array([0, 1] * 300)
RIGHT = np.eye(2)[LABELS]
WRONG_ON_A_THIRD = np.where((np.arange(600) % 3 == 0)[:, None], RIGHT[:, ::-1], RIGHT)


def compared(*good: bool) -> Comparison:
    """A baseline that is wrong on a third of the rows, and students that equal it or make no error."""
    logits = [WRONG_ON_A_THIRD, *(RIGHT if one else WRONG_ON_A_THIRD for one in good)]
    names = ["no_kd", *(f"v{number}" for number in range(len(good)))]
    entries = [Entry("student", name, seed, one) for name, one in zip(names, logits, strict=True) for seed in (1, 2, 3)]
    return compare(entries, Task(SINGLE_LABEL, LABELS, ("no", "yes")), name="run", replicates=300)


def test_few_verdicts_are_a_sentence_each() -> None:
    comparison = compared(True, False, False)
    assert not has_many_verdicts(comparison)
    assert [line.text for line in verdict_lines(comparison)] == list(comparison.verdicts)
    assert [line.verdict for line in verdict_lines(comparison)] == ["better", "not separable", "not separable"]


def test_of_many_verdicts_the_separable_ones_are_sentences() -> None:
    comparison = compared(False, True, False, False)
    found, others = verdict_lines(comparison)
    assert found.text.startswith("v1 is better than no KD: accuracy 100.0% against 66.7%: +33.3 points")
    assert others.verdict == "not separable"
    assert others.text == f"The other 3 differences between students are not separable on these rows. {chance(4)}"
    assert len(comparison.verdicts) == 4, "the whole conclusion stays in the report"


@pytest.mark.parametrize(
    ("good", "last"),
    [
        ((False,) * 4, "None of the 4 differences between students is separable on these rows."),
        ((True, True, True, False), f"The other difference between students is not separable on these rows. {chance(4)}"),
        ((True,) * 4, chance(4)),
    ],
)
def test_the_number_of_the_others_and_the_role_of_chance_are_said(good: tuple[bool, ...], last: str) -> None:
    assert verdict_lines(compared(*good))[-1].text == last


def test_a_single_student_has_the_reason_for_no_verdict() -> None:
    (line,) = verdict_lines(compared())
    assert line.text.startswith("No verdict")
    assert line.verdict is None


def test_the_table_of_students_holds_the_headline_metric_alone() -> None:
    comparison = compared(False, True, False, False)
    header, body = judged_table(comparison)
    assert header == ["difference", "accuracy, points", "95% interval", "verdict"]
    assert [cells[0] for cells in body] == [f"student, v{number} − student, no KD" for number in range(4)]
    assert (body[1][1], body[1][3]) == ("+33.3", "better")
    assert len(verdict_table(comparison)[1]) > len(body)


def test_a_card_and_a_page_of_runs_have_the_table_too() -> None:
    comparison = compared(False, True, False, False)
    pair = "student, v3 − student, no KD"
    assert pair in model_card(comparison, variant="v1", seed=1, objective="x", base="y")
    assert pair in runs_html([comparison])
    assert pair not in runs_html([compared(False, True)])
