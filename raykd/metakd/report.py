"""The table of a Meta-KD run: accuracy per domain on the test rows, and verdicts over rows and seeds."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raykd.data import storage
from raykd.metakd.tasks import TEACHER_OF, Method
from raykd.report.domain_accuracy import MethodContrast, SystemRow
from raykd.report.record import Record
from raykd.report.report_view import ReportView
from raykd.report.system import Spread

FORMAT = 2
CALIBRATION = (
    "Calibration error (ECE) on test rows before and after temperature scaling, mean over the models; each temperature was "
    "fitted on its validation rows and stands in its raykd.json."
)
SCOPE = (
    "Averages and verdicts weigh every domain alike; intervals cover rows and seeds with these teachers, not other teachers."
)


TITLES: dict[str, str] = {
    "single": "one domain's teacher",
    "mixed": "mixed-domain teacher",
    "meta": "meta-teacher",
    "hard_labels": "hard labels",
    "single_teacher": "TinyBERT-KD",
    "mixed_teacher": "TinyBERT-KD",
    "meta_teacher": "TinyBERT-KD",
    "meta_kd": "meta-distillation",
}
"""Names of teachers and methods in the table and in verdicts."""


class MetaReport(Record):
    """The content of ``report.json``."""

    format: int = FORMAT
    name: str
    rows: dict[str, int]
    """Test rows of each domain."""
    seeds: tuple[int, ...]
    lines: tuple[SystemRow, ...]
    contrasts: tuple[MethodContrast, ...]
    warnings: tuple[str, ...] = ()
    """Texts that splits share."""
    environment: dict[str, str]


def render(report: MetaReport) -> RenderableType:
    """The table and the verdicts, for a terminal."""
    header, body = _cells(report)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(header):
        table.add_column(Text(name), justify="left" if index < 2 else "right")
    for cells in body:
        table.add_row(*map(Text, cells))
    verdicts = [Text(sentence(one)) for one in report.contrasts]
    warnings = [Text(f"warning: {one}") for one in report.warnings]
    return Group(Text(_caption(report), style="bold"), table, *warnings, *verdicts, *([Text(SCOPE)] if verdicts else []))


def write(report: MetaReport, folder: str) -> None:
    """Write ``report.json`` and ``report.md``."""
    header, body = _cells(report)
    rows = [header, ["---"] * len(header), *body]
    lines = [f"# {_caption(report)}", "", *("| " + " | ".join(cells) + " |" for cells in rows), ""]
    lines += _calibration_lines(report)
    lines += [f"> {one}" for one in report.warnings] + [""] * bool(report.warnings)
    lines += [f"- {sentence(one)}" for one in report.contrasts]
    lines += ["", SCOPE] if report.contrasts else []
    lines += ["", *(f"- {name}: {value}" for name, value in report.environment.items())]
    storage.write_bytes(storage.join(folder, "report.md"), ("\n".join(lines) + "\n").encode())
    storage.write_json(storage.join(folder, "report.json"), report.model_dump(mode="json"))


def _calibration_lines(report: MetaReport) -> list[str]:
    """The table of calibration errors in Markdown; no lines where nothing was fitted."""
    rows = [[one.teacher, one.method, *_calibration_cells(one)] for one in report.lines if one.calibration]
    header = ["teacher", "student", "ECE", "ECE after temperature scaling", "temperature"]
    table = [header, ["---"] * len(header), *rows]
    return [CALIBRATION, "", *("| " + " | ".join(cells) + " |" for cells in table), ""] if rows else []


def _calibration_cells(line: SystemRow) -> list[str]:
    return [f"{line.calibration[name].mean:.3f}" for name in ("ece", "ece_calibrated", "temperature")]


def read(folder: str) -> MetaReport:
    """The report of a folder."""
    content: Any = storage.read_json(storage.join(folder, "report.json"))
    return MetaReport.model_validate(content)


def view(report: MetaReport) -> ReportView:
    """The table and the verdicts, for a notebook."""
    return ReportView(_caption(report), *_cells(report), [sentence(one) for one in report.contrasts], report.warnings)


def sentence(one: MethodContrast) -> str:
    """A verdict in words."""
    result = one.result
    points = f"{100 * result.difference:+.1f} points, 95% interval {100 * result.low:+.1f} to {100 * result.high:+.1f}"
    return f"{one.candidate} against {one.reference}: {result.wording} ({points})"


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


def method_title(method: Method) -> str:
    """Name of a student in verdicts."""
    teacher = f" from the {TITLES[TEACHER_OF[method]]}" if method in TEACHER_OF else ""
    return f"{TITLES[method]}{teacher}"
