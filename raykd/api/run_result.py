"""The result of a run: its report and its models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from raykd.api.trained_model import TrainedModel
from raykd.config import ExperimentConfig, MetaKDConfig
from raykd.data import storage
from raykd.errors import ConfigError
from raykd.job_kinds import RUN_KINDS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from raykd.metakd.report import MetaReport
    from raykd.report.comparison import Comparison
    from raykd.report.report_view import ReportView


@dataclass(frozen=True, repr=False)
class RunResult:
    """Comparison of the models of a run, and the models. A notebook shows its table and verdicts."""

    folder: str
    """Folder of the run; ``report/report.html`` in it is the whole report."""
    config: ExperimentConfig | MetaKDConfig = field(repr=False)
    """Resolved configuration."""
    report: Comparison | MetaReport | None = field(repr=False)
    """Content of ``report/report.json``; None where the report stage has not run."""

    @property
    def models(self) -> dict[str, tuple[TrainedModel, ...]]:
        """Trained students by variant (Meta-KD: by method), in the order of the seeds (Meta-KD: of domains and seeds)."""
        found: dict[str, tuple[TrainedModel, ...]] = {}
        for one in self._models("student"):
            found[one.name] = (*found.get(one.name, ()), one)
        return found

    @property
    def teachers(self) -> tuple[TrainedModel, ...]:
        """Teachers that are classifiers, in the order of the job."""
        return tuple(self._models("teacher"))

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Sentences on the differences between the students; of many, on the separable ones. Empty without a report."""
        return () if self.report is None else tuple(self._view.verdicts)

    def to_pandas(self) -> pd.DataFrame:
        """One row for each system. Metrics are means over seeds, ``NAME_sd`` is the standard deviation; fractions, not percent.

        Raises ConfigError without a report.
        """
        import pandas as pd

        return pd.DataFrame.from_records(RUN_KINDS[type(self.config)].records(self._required_report))

    def plot(self) -> Figure:
        """Draw the metrics of all systems over seeds, without pyplot. Raises ConfigError without a report."""
        return RUN_KINDS[type(self.config)].figure(self._required_report)

    def _models(self, role: str) -> list[TrainedModel]:
        places = [one for one in RUN_KINDS[type(self.config)].models(self.config) if one.role == role]
        found = []
        for one in places:
            own = storage.join(self.folder, one.folder)
            if one.given or storage.exists(storage.join(own, "config.json")):
                found.append(TrainedModel(one.folder if one.given else own, one.role, one.name, one.seed, one.domain))
        return found

    @property
    def _required_report(self) -> Comparison | MetaReport:
        if self.report is None:
            raise ConfigError(f"{self.folder} has no report; run its stages evaluation and report, which need data.label")
        return self.report

    @property
    def _view(self) -> ReportView:
        return RUN_KINDS[type(self.config)].view(self._required_report)

    def __repr__(self) -> str:
        return f"<RunResult {self.folder}: no report>" if self.report is None else f"<RunResult {self._view.text}>"

    def _repr_html_(self) -> str | None:
        return None if self.report is None else self._view.html
