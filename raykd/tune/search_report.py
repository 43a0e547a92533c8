"""The result of a search as data: its trials, and the verdicts on its best values."""

from collections.abc import Mapping, Sequence

from pydantic import Field

from raykd.config import TuneConfig
from raykd.config.search_space import Value
from raykd.report.bootstrap import Verdict
from raykd.report.domain_accuracy import CorrectRows, contrast, system_row
from raykd.report.environment import environment
from raykd.report.record import Record
from raykd.report.system import Spread
from raykd.task_kinds import task_kind
from raykd.tune.search_systems import DEFAULT, TITLES, TUNED
from raykd.tune.trial_record import LineagePart, SharedWorkCount, TrialRecord, best_of

FORMAT = 1


class SystemLine(Record):
    """The headline metric of one system on the test rows."""

    system: str
    domains: dict[str, Spread]
    """By domain (an empty name without domains), over seeds."""
    average: Spread
    """Mean over domains, over seeds."""


class SearchContrast(Record):
    """The tuned student against another system."""

    reference: str
    result: Verdict


class SearchReport(Record):
    """The whole report; ``report.json`` is this."""

    format: int = FORMAT
    name: str
    metric: str
    mode: str
    searcher: str
    scheduler: str
    hyperparameters: tuple[str, ...]
    """Paths of the searched values."""
    log_scale: tuple[str, ...]
    """Those that were drawn by order of magnitude."""
    trials: tuple[TrialRecord, ...]
    best: int
    """Number of the best trial."""
    values: dict[str, Value]
    """Values of the best trial; those at its end if they changed during training."""
    lineage: tuple[LineagePart, ...] = ()
    """Changes of the best trial's values under population-based training."""
    default_values: dict[str, Value]
    """The job's own values."""
    importances: dict[str, float] | None
    """Share of the metric's variance that each hyperparameter explains; None with few trials, or when values changed."""
    importance_step: int = 0
    """Step of the metrics that are explained: the last one that all trials reached."""
    work: SharedWorkCount
    """Work of the trials that they should share: all zero for searches of the loss over stored logits."""
    lines: tuple[SystemLine, ...] = ()
    contrasts: tuple[SearchContrast, ...] = ()
    baselines: dict[str, float] = Field(default_factory=dict)
    """Mean on the validation rows of each student without distillation, the best first; verdicts compare with that one."""
    task: str = "single_label"
    """Kind of the task."""
    headline: str = "accuracy"
    """Metric of lines and verdicts."""
    rows: dict[str, int] = Field(default_factory=dict)
    """Number of test rows by domain."""
    seeds: tuple[int, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)


def build_report(
    config: TuneConfig,
    records: Sequence[TrialRecord],
    right: Mapping[str, CorrectRows],
    *,
    rows: Mapping[str, int],
    baselines: Mapping[str, float],
) -> SearchReport:
    """The report of a search. ``right`` has the test rows that each system has right."""
    best = best_of(list(records), config.mode)
    if best is None:
        raise ValueError("no trial has a metric")
    found = [system_row("student", "", system, right[system]) for system in TITLES if system in right]
    from raykd.tune.importance import importances  # needs Optuna, of the extra raykd[tune]

    # no trial of a population had one set of values
    explained = None if config.scheduler.kind == "pbt" else importances(config, records)
    shares, step = explained or (None, 0)
    return SearchReport(
        name=config.name,
        metric=config.metric,
        mode=config.mode,
        searcher=config.searcher,
        scheduler=config.scheduler.kind,
        hyperparameters=tuple(config.space),
        log_scale=tuple(path for path, one in config.space.items() if one.kind == "loguniform"),
        trials=tuple(records),
        best=best.index,
        values=best.values,
        lineage=best.lineage if best.values_changed else (),
        default_values=config.base_values,
        importances=shares,
        importance_step=step,
        work=sum((record.work for record in records), SharedWorkCount()),
        lines=tuple(SystemLine(system=one.method, domains=one.domains, average=one.average) for one in found),
        contrasts=tuple(_contrast(right, reference) for reference in (DEFAULT, next(iter(baselines)))),
        baselines=dict(baselines),
        task=config.base.task,
        headline=task_kind(config.base.task).headline.name,
        rows=dict(rows),
        seeds=config.final_seeds,
        environment=environment(),
    )


def _contrast(right: Mapping[str, CorrectRows], reference: str) -> SearchContrast:
    result = contrast((TUNED, right[TUNED]), (reference, right[reference])).result
    return SearchContrast(reference=reference, result=result)
