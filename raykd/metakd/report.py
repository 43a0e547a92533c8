"""The table of a Meta-KD run: accuracy per domain on the test rows, and verdicts over rows and seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raykd.data import storage
from raykd.metrics.resampling import RowMean
from raykd.report.bootstrap import Verdict, stratified_bootstrap
from raykd.report.record import Record
from raykd.report.system import Spread, spread
from raykd.task_kinds import SINGLE_LABEL, TaskKind

FORMAT = 1
SCOPE = (
    "Averages and verdicts weigh every domain alike; intervals cover rows and seeds with these teachers, not other teachers."
)
CorrectRows = Mapping[str, NDArray[np.bool_]]
"""By domain, whether each seed answers each test row correctly, ``[S, N]``."""


class SystemRow(Record):
    """One row of the table: a system's accuracies."""

    role: Literal["teacher", "student"]
    teacher: str
    """Its teacher; a dash without one."""
    method: str
    """Training method; a dash for teachers."""
    domains: dict[str, Spread]
    """Accuracy on each domain's test rows, over seeds."""
    average: Spread
    """Mean over domains, one value a seed: the paper's last column."""


class MethodContrast(Record):
    """One system against another, in the mean over domains."""

    candidate: str
    reference: str
    result: Verdict


class MetaReport(Record):
    """The content of ``report.json``."""

    format: int = FORMAT
    name: str
    rows: dict[str, int]
    """Test rows of each domain."""
    seeds: tuple[int, ...]
    lines: tuple[SystemRow, ...]
    contrasts: tuple[MethodContrast, ...]
    environment: dict[str, str]


def line(role: Literal["teacher", "student"], teacher: str, method: str, correct: CorrectRows) -> SystemRow:
    """Accuracies of one system."""
    by_domain = {domain: spread([float(one.mean()) for one in rows]) for domain, rows in correct.items()}
    averages = np.mean([one.values for one in by_domain.values()], axis=0)
    return SystemRow(role=role, teacher=teacher, method=method, domains=by_domain, average=spread(averages.tolist()))


def contrast(candidate: tuple[str, CorrectRows], reference: tuple[str, CorrectRows]) -> MethodContrast:
    """Paired bootstrap over the rows of each domain and the seeds; domains count alike, as in the table's average."""
    result = stratified_bootstrap(candidate[1], {domain: reference[1][domain] for domain in candidate[1]})
    return MethodContrast(candidate=candidate[0], reference=reference[0], result=result)


def render(report: MetaReport) -> RenderableType:
    """The table and the verdicts, for a terminal."""
    header, body = _cells(report)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(header):
        table.add_column(Text(name), justify="left" if index < 2 else "right")
    for cells in body:
        table.add_row(*map(Text, cells))
    verdicts = [Text(sentence(one)) for one in report.contrasts]
    return Group(Text(_caption(report), style="bold"), table, *verdicts, *([Text(SCOPE)] if verdicts else []))


def write(report: MetaReport, folder: str) -> None:
    """Write ``report.json`` and ``report.md``."""
    header, body = _cells(report)
    rows = [header, ["---"] * len(header), *body]
    lines = [f"# {_caption(report)}", "", *("| " + " | ".join(cells) + " |" for cells in rows), ""]
    lines += [f"- {sentence(one)}" for one in report.contrasts]
    lines += ["", SCOPE] if report.contrasts else []
    lines += ["", *(f"- {name}: {value}" for name, value in report.environment.items())]
    storage.write_bytes(storage.join(folder, "report.md"), ("\n".join(lines) + "\n").encode())
    storage.write_json(storage.join(folder, "report.json"), report.model_dump(mode="json"))


def read(folder: str) -> MetaReport:
    """The report of a folder."""
    content: Any = storage.read_json(storage.join(folder, "report.json"))
    return MetaReport.model_validate(content)


def sentence(one: MethodContrast) -> str:
    """A verdict in words."""
    result = one.result
    points = f"{100 * result.difference:+.1f} points, 95% interval {100 * result.low:+.1f} to {100 * result.high:+.1f}"
    return f"{one.candidate} against {one.reference}: {result.verdict} ({points})"


def _caption(report: MetaReport) -> str:
    rows = ", ".join(f"{domain} {count}" for domain, count in report.rows.items())
    return f"{report.name}: accuracy % on test rows ({rows}), {len(report.seeds)} student seeds"


def _cells(report: MetaReport) -> tuple[list[str], list[list[str]]]:
    domains = list(report.rows)
    body = [
        [one.teacher, one.method, *(_percent(one.domains.get(domain)) for domain in domains), _percent(one.average)]
        for one in report.lines
    ]
    return ["teacher", "student", *domains, "average"], body


def _percent(one: Spread | None) -> str:
    if one is None:
        return "–"
    return f"{100 * one.mean:.1f}" + (f" ± {100 * one.sd:.1f}" if one.sd is not None else "")


def correct_rows(
    logits: Sequence[NDArray[np.float32]], labels: NDArray[Any], kind: TaskKind = SINGLE_LABEL
) -> NDArray[np.bool_]:
    """Rows that each seed answers correctly, ``[S, N]``, from logits ``[N, C]`` each; the headline must be a mean over rows."""
    metric = kind.resampled([str(index) for index in range(logits[0].shape[1])])[kind.headline.name]
    assert isinstance(metric, RowMean)
    return np.stack([metric.correct(labels, one) for one in logits])
