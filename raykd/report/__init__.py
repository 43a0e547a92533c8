"""Results of a run: metrics, verdicts, and the report as terminal table, Markdown, HTML and JSON."""

from raykd.metrics.single_label_metrics import classification_metrics
from raykd.report.comparison import Comparison, Entry, compare
from raykd.report.files import compare_runs, read_report, write_report
from raykd.report.teacher_quality import TeacherQuality, teacher_quality
from raykd.report.terminal import render

__all__ = [
    "Comparison",
    "Entry",
    "TeacherQuality",
    "classification_metrics",
    "compare",
    "compare_runs",
    "read_report",
    "render",
    "teacher_quality",
    "write_report",
]
