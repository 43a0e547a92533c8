"""Cascades: the curve and the threshold against plain counting, and a report that has them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.report.cascade import CascadeRows
from raykd.report.comparison import Comparison, Entry, compare
from raykd.report.html import html
from raykd.report.markdown import markdown
from raykd.report.system import Task
from raykd.report.terminal import cascade_lines
from raykd.task_kinds import task_kind

ROWS = st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.7, 0.9, 1.0]), st.booleans(), st.booleans()), min_size=1, max_size=40)


def rows_of(given_rows):
    confidence, student, teacher = zip(*given_rows, strict=True)
    return CascadeRows(np.array(confidence), np.array(student), np.array(teacher))


@given(ROWS, st.sampled_from([0.0, 0.05, 0.3]), st.sampled_from([0.0, 0.1, 0.5]))
@settings(max_examples=80)
def test_the_threshold_is_the_smallest_that_is_good_enough(given_rows, margin, least_share):
    rows = rows_of(given_rows)
    chosen = rows.choose(margin, least_share=least_share)
    needed = rows.teacher.mean() - margin - 1e-9
    assert rows.share(chosen) == 1 or rows.right(chosen).mean() >= needed
    assert rows.share(chosen) >= least_share - 1e-9
    smaller = [one for one in np.unique(rows.confidence) if rows.share(one) < rows.share(chosen)]
    assert all(rows.right(one).mean() < needed or rows.share(one) < least_share for one in smaller)


@given(ROWS)
@settings(max_examples=30)
def test_the_ends_of_the_curve_are_the_student_and_the_teacher(given_rows):
    rows = rows_of(given_rows)
    curve = rows.curve((0.0, 1.0))
    assert curve == pytest.approx([rows.student.mean(), rows.teacher.mean()])


def test_a_curve_by_hand():
    rows = CascadeRows(np.array([0.9, 0.6, 0.8, 0.5]), np.array([1, 0, 1, 0], bool), np.array([1, 1, 0, 1], bool))
    assert rows.curve((0, 0.25, 0.5, 0.75, 1)) == pytest.approx([0.5, 0.75, 1.0, 0.75, 0.75])
    assert rows.choose(0.0) == 0.6, "the row of 0.5 alone brings the teacher's accuracy"
    assert rows.right(0.6).tolist() == [True, False, True, True]
    assert rows.share(0.6) == 0.25


def reviews(teachers: int = 1, kind: str = "single_label") -> Comparison:
    """A teacher that is right on nearly all rows, students that are unsure where they are wrong."""
    draw = np.random.default_rng(0)

    def rows(count):
        labels = draw.integers(0, 2, count)
        sign = np.where(labels == 1, 1.0, -1.0)
        hard = draw.random(count) < 0.2
        margin = np.where(hard, draw.normal(0, 0.4, count), draw.normal(3, 0.3, count)) * sign
        student = np.stack([-margin, margin], axis=1)
        return labels, student, 4.0 * np.stack([-sign, sign], axis=1) * np.where(draw.random(count) < 0.97, 1, -1)[:, None]

    labels, student, teacher = rows(2000)
    seen_labels, seen_student, seen_teacher = rows(1000)
    return compare(
        [
            *(Entry("teacher", f"t{number}", None, teacher, validation=seen_teacher) for number in range(teachers)),
            *(Entry("student", "kd", seed, student * seed, validation=seen_student * seed) for seed in (1, 2)),
        ],
        Task(task_kind(kind), labels, ("no", "yes"), validation_labels=seen_labels), name="reviews",
    )  # fmt: skip


def test_a_report_measures_the_cascade_on_rows_that_did_not_choose_the_threshold():
    comparison = reviews()
    teacher, student = comparison.systems
    assert teacher.cascade is None
    cascade = student.cascade
    assert cascade is not None
    assert cascade.curve[0] < cascade.curve[4]
    assert 0.05 < cascade.escalated.mean < 0.35
    assert cascade.headline.mean == pytest.approx(teacher.metrics["accuracy"].mean, abs=0.02)
    assert cascade.against_teacher.low <= cascade.against_teacher.difference <= cascade.against_teacher.high
    # the second seed's logits are twice the first's: calibration makes their confidence the same
    assert cascade.thresholds[0] == pytest.approx(cascade.thresholds[1], abs=1e-3)
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison


def test_every_document_has_the_cascade():
    comparison = reviews()
    assert "## Cascade" in markdown(comparison)
    page = html(comparison)
    assert "<h2>Cascade</h2>" in page
    assert "cannot be drawn" not in page
    (line,) = cascade_lines(comparison)
    assert line.startswith("Cascade: the student KD hands ")
    assert "points against the teacher, 95% interval" in line


def test_several_teachers_have_no_cascade():
    assert all(system.cascade is None for system in reviews(teachers=2).systems)
