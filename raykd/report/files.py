"""A comparison as files: ``report.json`` that everything can be made from again, ``report.md``, ``report.html``."""

import logging
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from raykd.data import storage
from raykd.errors import ConfigError
from raykd.report.cells import table
from raykd.report.comparison import Comparison
from raykd.report.html import html
from raykd.report.label_curve import label_table
from raykd.report.markdown import markdown
from raykd.report.runs_page import write_runs_page
from raykd.report.terminal import grid_of, grid_of_runs
from raykd.report.variants import students_differ, variant_table
from raykd.report.verdict_table import verdict_lines

log = logging.getLogger(__name__)

REPORT = "report.json"


def write_report(comparison: Comparison, folder: str) -> None:
    """Write ``report.json``, then the pages, which can be made from it; a page that cannot be made is a warning."""
    storage.write_bytes(storage.join(folder, REPORT), comparison.model_dump_json(indent=1).encode())
    write_page(storage.join(folder, "report.md"), lambda: markdown(comparison))
    write_page(storage.join(folder, "report.html"), lambda: html(comparison))


def write_page(path: str, make: Callable[[], str]) -> None:
    """Write a page for readers, in UTF-8. Any error in making it is logged as a warning: the results lie elsewhere."""
    try:
        page = make().encode(errors="replace")
    except Exception as error:  # whatever the page met, report.json is complete
        log.warning("%s cannot be made (%s: %s)", path, type(error).__name__, error)
        return
    storage.write_bytes(path, page)


def report_folder(run: str) -> str:
    """The report's folder of a run; ``run`` may be that folder. Raises ConfigError when there is no such folder."""
    if storage.exists(storage.join(run, REPORT)):
        return run
    if not storage.is_dir(run):
        raise ConfigError(f"{run} does not exist; give the folder of a finished run, for example runs/NAME")
    return storage.join(run, "report")


def read_report(folder: str) -> Comparison:
    """The comparison of a finished run. Raises ConfigError when the folder has none, DataError for an unknown format."""
    path = storage.join(folder, REPORT)
    if not storage.exists(path):
        raise ConfigError(f"{folder} has no {REPORT}; give the folder of a finished run, or run its report stage")
    return Comparison.load(path)


def compare_runs(folders: Sequence[str], *, page: str | None = None) -> RenderableType:
    """One table of several finished runs, the main verdicts below, and a warning when they were not measured on the same rows.

    Runs with different numbers of labels have a table of the headline metric by that number too. ``page`` is the HTML file to
    write, with its plot. Raises ConfigError when a folder has no report or none is given.
    """
    if not folders:
        raise ConfigError("no run to report on; give the folders of finished runs")
    runs = [read_report(folder) for folder in folders]
    if page is not None:
        write_runs_page(runs, page, _differences(runs))
    header = list(dict.fromkeys(name for run in runs for name in table(run)[0]))
    sections = [(run.name, _body(run, header)) for run in runs]
    students = [(run.name, *variant_table(run)) for run in runs if students_differ(run)]
    grids = [grid_of_runs([(name, body) for name, _, body in students], students[0][1])] if students else []
    by_labels = label_table(runs)
    grids += [grid_of(*by_labels)] if by_labels[1] else []
    notes = [Text(f"warning: {warning}", style="yellow") for warning in _differences(runs)]
    notes += [Text.assemble((f"{run.name}: ", "bold"), line.text) for run in runs for line in verdict_lines(run)]
    return Group(grid_of_runs(sections, header), *grids, *(Padding(note, (0, 1)) for note in notes))


def verdicts_of_runs(folders: Sequence[str]) -> str:
    """The verdicts of several finished runs, one a line."""
    runs = [read_report(folder) for folder in folders]
    return "\n".join(f"{run.name}: {line}" for run in runs for line in run.verdicts)


def _body(run: Comparison, header: Sequence[str]) -> list[list[str]]:
    """The run's rows under the header of all runs."""
    own, body = table(run)
    return [[dict(zip(own, cells, strict=True)).get(name, "") for name in header] for cells in body]


def _differences(runs: Sequence[Comparison]) -> list[str]:
    first = runs[0]
    found = []
    for other in runs[1:]:
        same = first.rows_fingerprint == other.rows_fingerprint if first.rows_fingerprint else first.rows == other.rows
        if not same or first.labels != other.labels:
            found.append(
                f"{first.name} ({first.rows:,} rows) and {other.name} ({other.rows:,} rows) were not measured on the same "
                "rows; their metrics do not compare"
            )
    return found
