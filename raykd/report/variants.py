"""Rows, optimiser steps and parameters of the students of a comparison."""

from raykd.report.cells import NONE, count, system_names
from raykd.report.comparison import Comparison
from raykd.report.system import System, variant_title

USUAL_STUDENTS = 2
"""Students of a job without variants of its own."""


def variant_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """A row for each student whose training is known; no rows where none is."""
    names = zip(system_names(comparison.systems), comparison.systems, strict=True)
    body = [[name, *_cells(one)] for name, one in names if one.role == "student" and one.work is not None]
    header = ["", "training rows", "with label", "optimiser steps", "encoder params", "embedding params"]
    return header, body


def students_differ(comparison: Comparison) -> bool:
    """True when the students differ in more than their losses, or are more than two: only then is their table shown."""
    students = [one for one in comparison.systems if one.role == "student" and one.work is not None]
    shapes = {(one.work, one.footprint and (one.footprint.encoder, one.footprint.embeddings)) for one in students}
    return len(shapes) > 1 or len(students) > USUAL_STUDENTS


def length_note(comparison: Comparison) -> str:
    """The length that the students' trainings have in common, and the students that have their own."""
    students = [(variant_title(one.name), one.work) for one in comparison.systems if one.role == "student" and one.work]
    own = [name for name, work in students if not work.matched]
    equal = [name for name, work in students if work.matched]
    unit = "optimiser steps" if comparison.match == "steps" else "passes over their rows"
    parts = [f"{', '.join(equal)}: as many {unit} each as the longest of them needs"] if equal else []
    parts += [f"{', '.join(own)}: a length of {'its' if len(own) == 1 else 'their'} own"] if own else []
    return f"Length of the trainings: {'; '.join(parts)}."


def row_notes(comparison: Comparison) -> list[str]:
    """Sentences on the texts that were left out of the training rows."""
    return [f"{one}." for one in comparison.left_out]


def _cells(system: System) -> list[str]:
    work, size = system.work, system.footprint
    assert work is not None
    parameters = [NONE, NONE] if size is None else [count(size.encoder), count(size.embeddings)]
    return [f"{work.rows:,}", f"{work.labelled:,}", f"{work.steps:,}", *parameters]
