"""Comparisons with every column that a table can have, or with other numbers of labels; their files and their text."""

import io
from pathlib import Path

from rich.console import Console

from raykd.report.comparison import Comparison
from raykd.report.footprint import Footprint
from raykd.report.latency import Latency
from raykd.report.system import TrainingWork, beside_teacher

SIZE = Footprint(parameters=109_483_778, embeddings=23_837_184, encoder=85_054_464, bytes_on_disk=438_000_000)


def fill(comparison: Comparison) -> Comparison:
    """With every column that a table can have."""
    speed = Latency(p50_ms=12.5, p99_ms=120.25, rows_per_second=1234.5, batch_size=32, single_rows=9, batches=3, threads=1)
    update = {"footprint": SIZE, "latency": speed}
    systems = [one.model_copy(update=update) for one in comparison.systems]
    systems = [systems[0], *(beside_teacher(one, systems[0], comparison.headline) for one in systems[1:])]
    return comparison.model_copy(update={"systems": tuple(systems), "warnings": ("the teacher knows its rows by heart",)})


def keep(comparison: Comparison, folder: Path) -> None:
    """Write the file that ``compare_runs`` reads, without the plots."""
    folder.mkdir()
    (folder / "report.json").write_text(comparison.model_dump_json())


def printed(renderable: object) -> list[str]:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # the console writes to a StringIO


def with_labels(run: Comparison, labels: int) -> Comparison:
    """A run whose students trained on so many labels among 20,000 rows."""
    work = TrainingWork(rows=20_000, labelled=labels, steps=100, matched=True)
    systems = [one if one.role == "teacher" else one.model_copy(update={"work": work}) for one in run.systems]
    return run.model_copy(update={"name": f"budget-{labels}", "systems": tuple(systems)})
