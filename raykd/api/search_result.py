"""The result of a search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from raykd.api.trained_model import TrainedModel
from raykd.config import TuneConfig
from raykd.data import storage

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from raykd.config.search_space import Value
    from raykd.report.report_view import ReportView
    from raykd.tune.search_report import SearchReport


@dataclass(frozen=True, repr=False)
class SearchResult:
    """Trials of a search, its best values and its best model. A notebook shows the table on the test rows."""

    folder: str
    """Folder of the search; ``report/report.html`` in it is the whole report."""
    config: TuneConfig = field(repr=False)
    """Resolved configuration."""
    report: SearchReport = field(repr=False)
    """Content of ``report/report.json``."""

    @property
    def best(self) -> dict[str, Value]:
        """Values of the best trial, by their paths: overrides for the job that was searched."""
        return dict(self.report.values)

    @property
    def best_models(self) -> tuple[TrainedModel, ...]:
        """The tuned model, of Meta-KD jobs one for each domain."""
        domains = [domain for domain in self.report.rows if domain]
        folder = storage.join(self.folder, "best")
        paths = {domain: storage.join(folder, domain) for domain in domains} if domains else {None: folder}
        return tuple(TrainedModel(path, "student", "best", domain=domain) for domain, path in paths.items())

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Sentences on the tuned student."""
        return tuple(self._view.verdicts)

    def to_pandas(self) -> pd.DataFrame:
        """One row for each trial: status, metric, the values tried, seconds."""
        from raykd.tune.search_tables import trial_table

        frame: pd.DataFrame = trial_table(self.report).to_pandas()
        return frame

    def plot(self) -> Figure:
        """Draw the metric of each trial by each value tried, without pyplot."""
        from raykd.tune.search_plots import hyperparameter_figure

        return hyperparameter_figure(self.report)

    @property
    def _view(self) -> ReportView:
        from raykd.report.report_view import ReportView
        from raykd.tune.search_tables import conclusion, result_table, summary

        header, body = result_table(self.report)
        return ReportView(f"{self.report.name}: {summary(self.report)}", header, body, conclusion(self.report))

    def __repr__(self) -> str:
        return f"<SearchResult {self._view.text}>"

    def _repr_html_(self) -> str:
        return self._view.html
