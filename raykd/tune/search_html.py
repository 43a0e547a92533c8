"""The report of a search as one HTML file that needs nothing else."""

from html import escape

from raykd.report.html import drawing, html_table, page
from raykd.tune import search_plots
from raykd.tune.search_report import SearchReport
from raykd.tune.search_tables import (
    SCHEDULE_TITLE,
    conclusion,
    result_table,
    schedule_sentence,
    schedule_table,
    summary,
    trials_table,
    value_table,
    work_sentence,
)


def search_html(report: SearchReport) -> str:
    """The whole report."""
    kind = report.contrasts[0].result.verdict.replace(" ", "-") if report.contrasts else ""
    importance = drawing(lambda: search_plots.importance_plot(report), "Importance of each hyperparameter")
    body = [
        f"<h1>{escape(report.name)}</h1>",
        f'<div class="verdict {kind}">{"".join(f"<p>{escape(line)}</p>" for line in conclusion(report))}</div>',
        f'<p class="quiet">{escape(summary(report))}</p>',
        html_table(*result_table(report)),
        "<h2>Values found</h2>",
        html_table(*value_table(report)),
        *_schedule(report),
        "<h2>Metric by hyperparameter</h2>",
        drawing(lambda: search_plots.hyperparameter_plot(report), "Metric of every trial by hyperparameter"),
        '<p class="quiet">Green: the best trial; grey: stopped early. On the validation rows.</p>',
        "<h2>Parallel coordinates</h2>",
        drawing(lambda: search_plots.parallel_plot(report), "Parallel coordinates of all trials"),
        "<h2>Best so far</h2>",
        drawing(lambda: search_plots.progress_plot(report), "Best metric by trial"),
        *(["<h2>Importance</h2>", importance] if importance else []),
        "<h2>Trials</h2>",
        html_table(*trials_table(report)),
        f'<p class="quiet">{escape(work_sentence(report.work))}</p>',
        "<h2>Made with</h2>",
        f'<p class="quiet">{"<br>".join(f"{escape(key)}: {escape(value)}" for key, value in report.environment.items())}</p>',
    ]
    return page(report.name, body)


def _schedule(report: SearchReport) -> list[str]:
    """The best trial's values over time, if they changed."""
    if not report.lineage:
        return []
    sentence = f"<p>{escape(schedule_sentence(report))}</p>"
    return [f"<h2>{escape(SCHEDULE_TITLE)}</h2>", sentence, html_table(*schedule_table(report))]
