"""Rows, steps and parameters of student variants in a report."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from raykd.report.card import model_card
from raykd.report.comparison import Comparison, Entry, compare
from raykd.report.files import compare_runs, write_report
from raykd.report.html import html
from raykd.report.markdown import markdown
from raykd.report.plots import metric_plot
from raykd.report.system import Task, TrainingWork, variant_title
from raykd.report.terminal import render
from raykd.report.variants import length_note, students_differ, variant_table
from raykd.report.verdict_table import verdict_table
from raykd.task_kinds import SINGLE_LABEL
from tests.unit.report.comparisons import SIZE

LABELS = np.array([0, 1] * 30)
FEW, MANY = (
    TrainingWork(rows=1000, labelled=1000, steps=1500, matched=True),
    TrainingWork(rows=16000, labelled=1000, steps=1500, matched=True),
)
LONG = TrainingWork(rows=16000, labelled=1000, steps=4500, matched=False)


def compared(works: dict[str, TrainingWork], **options: object) -> Comparison:
    logits = np.eye(2)[LABELS]
    entries = [Entry("teacher", "teacher", None, logits)]
    entries += [Entry("student", name, seed, logits, work=work) for name, work in works.items() for seed in (1, 2)]
    made = compare(entries, Task(SINGLE_LABEL, LABELS, ("no", "yes")), name="run", replicates=200, **options)  # type: ignore[arg-type]  # values of several types
    systems = tuple(one.model_copy(update={"footprint": SIZE}) for one in made.systems)
    return made.model_copy(update={"systems": systems})


def printed(renderable: object) -> str:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(renderable)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # the console writes to a StringIO
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    return text


@pytest.mark.parametrize(("name", "title"), [("no_kd", "no KD"), ("kd", "KD"), ("kd_all_rows", "KD all rows"), ("x2", "x2")])
def test_names_are_words(name: str, title: str) -> None:
    assert variant_title(name) == title


def test_each_student_has_its_rows_steps_and_parameters() -> None:
    header, body = variant_table(compared({"no_kd": FEW, "kd": MANY, "long": LONG}))
    assert header[1:] == ["training rows", "with label", "optimiser steps", "encoder params", "embedding params"]
    assert body == [
        ["student, no KD", "1,000", "1,000", "1,500", "85.1 M", "23.8 M"],
        ["student, KD", "16,000", "1,000", "1,500", "85.1 M", "23.8 M"],
        ["student, long", "16,000", "1,000", "4,500", "85.1 M", "23.8 M"],
    ]


def test_the_note_says_what_was_matched_and_what_was_not() -> None:
    works = {"no_kd": FEW, "kd": MANY, "long": LONG}
    note = "Length of the trainings: no KD, KD: as many {} each as the longest of them needs; long: a length of its own."
    assert length_note(compared(works)) == note.format("optimiser steps")
    assert length_note(compared(works, match="epochs")) == note.format("passes over their rows")


def test_a_verdict_on_students_of_other_lengths_says_so() -> None:
    matched, longer = compared({"no_kd": FEW, "kd": MANY, "long": LONG}).verdicts
    assert "optimiser steps" not in matched
    assert longer.endswith("this teacher; 4,500 against 1,500 optimiser steps).")
    header, body = verdict_table(compared({"no_kd": FEW, "kd": MANY, "long": LONG}))
    column = header.index("optimiser steps")
    assert {cells[0]: cells[column] for cells in body[:8]}["student, long − student, no KD"] == "4,500 against 1,500"
    assert "optimiser steps" not in verdict_table(compared({"no_kd": FEW, "kd": MANY}))[0]


def test_every_renderer_shows_any_number_of_students(tmp_path: Path) -> None:
    comparison = compared({"no_kd": FEW, "kd": MANY, "long": LONG, **{f"v{number}": MANY for number in range(7)}}, against="kd")
    assert len(comparison.verdicts) == 9 + 8
    pages = [markdown(comparison), html(comparison), model_card(comparison, variant="long", seed=1, objective="x", base="y")]
    write_report(comparison, str(tmp_path))
    for text in (*pages, printed(render(comparison)), printed(compare_runs([str(tmp_path)]))):
        assert "student, v6" in text
        assert "16,000" in text
        assert "4,500" in text
        assert "None of the 17 differences between students is separable" in " ".join(text.split())
    assert "<svg" in metric_plot(comparison)
    assert re.search(r"student, v6 − student, KD +\+0.0 +-?\S+ to \S+ +not separable", printed(render(comparison)))


def test_two_students_on_the_same_rows_need_no_table_in_the_terminal() -> None:
    same = compared({"no_kd": FEW, "kd": FEW})
    assert not students_differ(same)
    assert "optimiser" not in printed(render(same))
    assert "## Students" in markdown(same)
    assert students_differ(compared({"no_kd": FEW, "kd": MANY}))
    assert (
        variant_table(
            compare([Entry("student", "kd", 1, np.eye(2)[LABELS])], Task(SINGLE_LABEL, LABELS, ("a", "b")), name="run")
        )[1]
        == []
    )
