"""The main table of a report with its verdicts, as text and as HTML for notebooks."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from raykd.report.cells import caption, table
from raykd.report.comparison import Comparison
from raykd.report.html import html_table
from raykd.report.verdict_table import verdict_lines


@dataclass(frozen=True)
class ReportView:
    """The content that a notebook shows."""

    title: str
    header: Sequence[str]
    body: Sequence[Sequence[str]]
    verdicts: Sequence[str]
    """Sentences, the most important first."""
    warnings: Sequence[str] = ()

    @property
    def text(self) -> str:
        """Title and verdicts, one a line."""
        return "\n".join([self.title, *(f"  {line}" for line in self.verdicts)])

    @property
    def html(self) -> str:
        """Table and sentences as an HTML fragment."""
        warnings = [f"<p>warning: {escape(line)}</p>" for line in self.warnings]
        verdicts = [f"<p>{escape(line)}</p>" for line in self.verdicts]
        return "\n".join([f"<p><b>{escape(self.title)}</b></p>", html_table(self.header, self.body), *warnings, *verdicts])


def comparison_view(comparison: Comparison) -> ReportView:
    """The view of a distillation's report."""
    header, body = table(comparison)
    title = f"{comparison.name}: {caption(comparison)}"
    return ReportView(title, header, body, [line.text for line in verdict_lines(comparison)], comparison.warnings)
