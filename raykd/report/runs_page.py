"""Several finished runs on one HTML page: their systems, verdicts, and the headline metric by the number of labels."""

from collections.abc import Sequence
from html import escape

from raykd.data import storage
from raykd.report.cells import table
from raykd.report.comparison import Comparison
from raykd.report.html import drawing, html_table, page
from raykd.report.label_curve import label_plot, label_table
from raykd.report.verdict_table import has_many_verdicts, judged_table, verdict_lines

LABEL_NOTE = "Mean over seeds; bars are one standard deviation to both sides. The axis of the labels is logarithmic."


def runs_html(runs: Sequence[Comparison], warnings: Sequence[str] = ()) -> str:
    """The page."""
    body = ["<h1>Comparison of runs</h1>", *(f'<div class="warning">{escape(one)}</div>' for one in warnings)]
    header, cells = label_table(runs)
    if cells:
        plot = drawing(lambda: label_plot(runs), f"{header[0]}, one line for each system")
        body += ["<h2>By number of labels</h2>", plot, html_table(header, cells), f'<p class="quiet">{LABEL_NOTE}</p>']
    for run in runs:
        lines = "".join(f"<p>{escape(line.text)}</p>" for line in verdict_lines(run))
        body += [f"<h2>{escape(run.name)}</h2>", html_table(*table(run)), f'<div class="verdict">{lines}</div>']
        body += [html_table(*judged_table(run))] if has_many_verdicts(run) else []
    return page("Comparison of runs", body)


def write_runs_page(runs: Sequence[Comparison], path: str, warnings: Sequence[str] = ()) -> None:
    """Write the page. Raises ResourceError when the file cannot be written."""
    storage.write_bytes(path, runs_html(runs, warnings).encode(errors="replace"))
