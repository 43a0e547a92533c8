"""The result of a search in the terminal, and in the tracker as a run beside those of its trials."""

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raykd.config import TuneConfig
from raykd.data import storage
from raykd.progress import print_result
from raykd.tracking import open_tracker
from raykd.tune.search_report import SearchReport
from raykd.tune.search_tables import (
    conclusion,
    result_table,
    schedule_sentence,
    summary,
    trial_table,
    value_table,
    work_sentence,
)


def track_summary(config: TuneConfig, report: SearchReport, folder: str) -> None:
    """Track a run with a step for each trial, all trials as a table, and the results."""
    tracking = config.base.tracking
    tracker = open_tracker(
        tracking.kind,
        project=tracking.project,
        run_name=f"{config.name} summary",
        group=config.name,
        run_id=f"{config.name}-summary",
        config=config.model_dump(mode="json"),
        folder=storage.join(folder, "tracking"),
    )
    best: float | None = None
    choose = max if config.mode == "max" else min
    for record in report.trials:
        if record.value is None:
            continue
        best = record.value if best is None else choose(best, record.value)
        values = {f"hyperparameter/{path}": value for path, value in record.values.items() if isinstance(value, int | float)}
        tracker.log(record.index, {f"trial/{config.metric}": record.value, f"best/{config.metric}": best, **values})
    table = trial_table(report)
    tracker.table("trials", table.column_names, [list(row.values()) for row in table.to_pylist()])
    metrics = {f"test/{report.headline}/{one.system}": one.average.mean for one in report.lines}
    metrics |= {f"test/difference/{one.reference}": one.result.difference for one in report.contrasts}
    metrics |= {f"during_trials/{name}": float(count) for name, count in report.work.model_dump().items()}
    tracker.finish({**metrics, "best/trial": float(report.best)})


def show_search(report: SearchReport) -> None:
    """Print the result of a search on standard output."""
    print_result(render_search(report), summary="\n".join(conclusion(report)))


def render_search(report: SearchReport) -> RenderableType:
    """The tables and the verdicts, for a terminal."""
    parts: list[RenderableType] = [Text(summary(report))]
    for header, body in (value_table(report), result_table(report)):
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for number, name in enumerate(header):
            table.add_column(Text(name), justify="right" if number else "left")
        for cells in body:
            table.add_row(*map(Text, cells))
        parts.append(table)
    if report.lineage:
        parts.append(Text(schedule_sentence(report)))
    parts.append(Text(work_sentence(report.work)))
    return Group(*parts, *(Text(sentence, style="bold") for sentence in conclusion(report)))
