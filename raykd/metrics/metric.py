"""Description of a metric, for everything that shows one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A number by which models are measured."""

    name: str
    """Key in evaluations, the history and reports."""
    title: str
    """Name in sentences and tables."""
    percent: bool = True
    """A fraction that is shown in percent; other metrics are shown with three digits."""
    short: str = ""
    """Name where space is small; the title unless given."""

    plotted: bool = True
    """True when a report plots it."""

    @property
    def short_title(self) -> str:
        """Name where space is small."""
        return self.short or self.title

    def text(self, value: float, *, digits: int = 1) -> str:
        """The value formatted for a sentence: ``85.1%`` or ``0.423``."""
        return f"{value:.{digits}%}" if self.percent else f"{value:.3f}"

    def difference(self, value: float) -> str:
        """A difference of two values with its sign: ``+3.5`` points, or ``+0.035``."""
        rounded = round(100 * value, 1) if self.percent else round(value, 3)
        return f"{'−' if rounded < 0 else '+'}{abs(rounded):.{1 if self.percent else 3}f}"


CALIBRATION_METRICS = (
    Metric("ece_calibrated", "ECE after temperature scaling", percent=False, plotted=False),
    Metric("temperature", "temperature fitted on validation rows", percent=False, plotted=False),
)
"""Metrics of a report whose models have logits on the validation rows."""
