"""What a search showed, as data: its trials, its winner against what one would have had without it; and as files."""

import io
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from pydantic import Field

from raykd.config import TuneConfig
from raykd.config.search_space import Value
from raykd.data import storage
from raykd.metakd.report import Right, contrast, line
from raykd.report.bootstrap import Verdict
from raykd.report.environment import environment
from raykd.report.markdown import pipe_table
from raykd.report.record import Record
from raykd.report.system import Spread
from raykd.report.verdicts import METRIC_NAMES, points
from raykd.tune.final import DEFAULT, NO_KD, NO_KD_TUNED, TEACHER, TUNED, TUNED_TEACHER
from raykd.tune.importance import importances
from raykd.tune.trial_record import Stretch, TrialRecord, Work, best_of

FORMAT = 1
MOVED_TITLE = "How the best trial's values moved"
TITLES = {
    TEACHER: "teacher",
    TUNED_TEACHER: "teacher, tuned",
    NO_KD: "student without distillation",
    NO_KD_TUNED: "student without distillation, tuned training",
    DEFAULT: "student, the job's own values",
    TUNED: "student, tuned",
}


REFERENCES = {
    DEFAULT: "the job's own values",
    NO_KD: "no distillation",
    NO_KD_TUNED: "no distillation, tuned training",
}
"""Verdicts' names for what the tuned student is compared with."""


class SystemLine(Record):
    """The headline metric on the test rows of one system."""

    system: str
    domains: dict[str, Spread]
    """By domain; one without a name where there are none. Over seeds."""
    average: Spread
    """Mean over domains, over seeds."""


class SearchContrast(Record):
    """The tuned student against another."""

    reference: str
    result: Verdict


class SearchReport(Record):
    """All that is said; ``report.json`` is this."""

    format: int = FORMAT
    name: str
    metric: str
    mode: str
    searcher: str
    scheduler: str
    knobs: tuple[str, ...]
    """Paths that were searched."""
    log_knobs: tuple[str, ...]
    """Those that were drawn by order of magnitude."""
    trials: tuple[TrialRecord, ...]
    best: int
    """Number of the best trial."""
    values: dict[str, Value]
    """Its values; those it ended with where they moved."""
    lineage: tuple[Stretch, ...] = ()
    """How its values moved under population-based training."""
    default_values: dict[str, Value]
    """The job's own."""
    importances: dict[str, float] | None
    """Share of the metric's variance that each knob explains; none where there are too few trials, or knobs moved."""
    importance_step: int = 0
    """Step of the figures that are explained: the last one that all trials reached."""
    work: Work
    """What trials did that they should not: zero of all for searches of the loss over stored logits."""
    lines: tuple[SystemLine, ...] = ()
    contrasts: tuple[SearchContrast, ...] = ()
    baselines: dict[str, float] = Field(default_factory=dict)
    """Mean on the validation rows of each student without distillation, the best first; verdicts compare with that one."""
    headline: str = "accuracy"
    """What lines and verdicts are about; of rows with any number of labels that all of them are right."""
    rows: dict[str, int] = Field(default_factory=dict)
    """Test rows by domain."""
    seeds: tuple[int, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)

    @property
    def conclusion(self) -> tuple[str, ...]:
        """What came out, in sentences."""
        return (*(_sentence(self, one) for one in self.contrasts), *_baseline_sentence(self))


def build_report(
    config: TuneConfig,
    records: Sequence[TrialRecord],
    right: Mapping[str, Right],
    *,
    rows: Mapping[str, int],
    default_values: Mapping[str, Value],
    baselines: Mapping[str, float],
) -> SearchReport:
    """The report of a search whose systems have these test rows right."""
    best = best_of(list(records), config.mode)
    if best is None:
        raise ValueError("no trial has a figure")
    found = [line("student", "", system, right[system]) for system in TITLES if system in right]
    tuned = ("", right[TUNED])
    work = sum((record.work for record in records), Work())
    # no trial of a population had one value
    explained = None if config.scheduler.kind == "pbt" else importances(config, records)
    shares, step = explained or (None, 0)
    return SearchReport(
        name=config.name,
        metric=config.metric,
        mode=config.mode,
        searcher=config.searcher,
        scheduler=config.scheduler.kind,
        knobs=tuple(config.space),
        log_knobs=tuple(path for path, knob in config.space.items() if knob.kind == "loguniform"),
        trials=tuple(records),
        best=best.index,
        values=best.values,
        lineage=best.lineage if best.moved else (),
        default_values=dict(default_values),
        importances=shares,
        importance_step=step,
        work=work,
        lines=tuple(SystemLine(system=one.method, domains=one.domains, average=one.average) for one in found),
        contrasts=tuple(
            SearchContrast(reference=system, result=contrast(tuned, ("", right[system])).result)
            for system in (DEFAULT, next(iter(baselines)))
        ),
        baselines=dict(baselines),
        headline=config.base.verdict_metric,
        rows=dict(rows),
        seeds=config.final_seeds,
        environment=environment(),
    )


def write_search(report: SearchReport, folder: str) -> None:
    """Write ``trials.csv``, ``trials.parquet``, ``report.md``, ``report.html`` and, last, ``report.json``."""
    from raykd.tune.search_html import search_html

    table = trial_table(report)
    for name, write in (("trials.csv", pyarrow.csv.write_csv), ("trials.parquet", pyarrow.parquet.write_table)):
        buffer = io.BytesIO()
        write(table, buffer)
        storage.write_bytes(storage.join(folder, name), buffer.getvalue())
    storage.write_bytes(storage.join(folder, "report.md"), markdown(report).encode())
    storage.write_bytes(storage.join(folder, "report.html"), search_html(report).encode())
    storage.write_bytes(storage.join(folder, "report.json"), report.model_dump_json(indent=1).encode())


def read_search(folder: str) -> SearchReport:
    """The report of a folder."""
    return SearchReport.model_validate(storage.read_json(storage.join(folder, "report.json")))


def trial_table(report: SearchReport) -> pa.Table:
    """A row a trial, a column a knob."""
    rows = []
    for record in report.trials:
        figures = record.model_dump(include={"index", "status", "value", "step", "seconds", "attempts", "reason"})
        path = "; ".join(f"from step {one.step} trial {one.trial} with {one.values}" for one in record.lineage)
        rows.append({**figures, **record.values, **record.work.model_dump(), **({"lineage": path} if record.lineage else {})})
    return pa.Table.from_pylist(rows)


def markdown(report: SearchReport) -> str:
    """The report as text; the plots are in the HTML."""
    sections = [
        f"# {report.name}",
        "\n".join(f"**{sentence}**" if number == 0 else f"\n{sentence}" for number, sentence in enumerate(report.conclusion)),
        f"{summary(report)}",
        pipe_table(*result_table(report)),
        "## What was found\n\n" + pipe_table(*value_table(report)),
        f"## {MOVED_TITLE}\n\n{moved_sentence(report)}\n\n" + pipe_table(*moved_table(report)) if report.lineage else "",
        "## Trials\n\n" + pipe_table(*trials_table(report)),
        work_sentence(report.work),
        "\n".join(f"- {key}: {value}" for key, value in report.environment.items()),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def summary(report: SearchReport) -> str:
    """How the search went, in a sentence."""
    count = {status: sum(one.status == status for one in report.trials) for status in ("finished", "stopped", "failed")}
    best = report.trials[[one.index for one in report.trials].index(report.best)]
    return (
        f"{len(report.trials)} trials by {report.searcher}, scheduler {report.scheduler}: {count['finished']} finished, "
        f"{count['stopped']} stopped early, {count['failed']} failed. Best on the validation rows: trial {report.best}, "
        f"{report.metric} {best.value:.4f}. Test rows were read once, after the search, with {len(report.seeds)} seeds."
    )


def result_table(report: SearchReport) -> tuple[list[str], list[list[str]]]:
    """The headline metric on the test rows."""
    domains = [domain for domain in report.rows if domain]
    body = [
        [TITLES[one.system], *(_percent(one.domains.get(domain)) for domain in domains), _percent(one.average)]
        for one in report.lines
    ]
    return [f"{METRIC_NAMES[report.headline]} % on test rows", *domains, "average" if domains else "all"], body


def value_table(report: SearchReport) -> tuple[list[str], list[list[str]]]:
    """What the knobs came to, and how much each mattered."""
    shares = report.importances or {}
    body = [
        [
            path,
            _value(report.default_values.get(path)),
            _value(report.values[path]),
            f"{shares[path]:.0%}" if path in shares else "–",
        ]
        for path in report.knobs
    ]
    at = f" at step {report.importance_step}" if shares else ""
    best = "best trial, at its end" if report.lineage else "best trial"
    return ["knob", "the job's own", best, f"explains of the variance{at} (fANOVA)"], body


def moved_sentence(report: SearchReport) -> str:
    """What of the best trial's values was trained again, where they moved."""
    return (
        f"Trial {report.best} took over weights, and its values moved: the students at the end were trained with this whole "
        "schedule, its steps stretched to the full budget."
    )


def moved_table(report: SearchReport) -> tuple[list[str], list[list[str]]]:
    """How the best trial's values moved, and whose weights it went on with."""
    from raykd.tune.watch import short_names

    body = [[str(one.step), str(one.trial), *(_value(one.values[path]) for path in report.knobs)] for one in report.lineage]
    return ["from step", "trained by trial", *short_names(report.knobs)], body


def trials_table(report: SearchReport) -> tuple[list[str], list[list[str]]]:
    """Every trial."""
    from raykd.tune.watch import short_names

    body = [
        [
            str(one.index),
            *(_value(one.values[path]) for path in report.knobs),
            "–" if one.value is None else f"{one.value:.4f}",
            str(one.step),
            f"{one.seconds:.0f}",
            one.status + (f": {one.reason}" if one.status == "failed" else ""),
        ]
        for one in report.trials
    ]
    return ["trial", *short_names(report.knobs), report.metric, "steps", "seconds", "state"], body


def work_sentence(work: Work) -> str:
    """What the trials did of what they share."""
    return (
        f"During the trials: {work.teacher_trainings} teacher trainings, {work.logit_exports} exports of logits, "
        f"{work.teacher_forwards} forward passes of a teacher."
    )


def _sentence(report: SearchReport, one: SearchContrast) -> str:
    result, domains = one.result, len(report.rows)
    mean = f", mean over {domains} domains" if domains > 1 else ""
    return (
        f"Tuned against {REFERENCES[one.reference]}, with {_teachers(report)}: "
        f"{result.verdict}, {points(result.difference)} points of {METRIC_NAMES[report.headline]}, 95% interval "
        f"{points(result.low)} to {points(result.high)} ({result.rows:,} test rows{mean}, {result.candidate_seeds} seeds each, "
        "paired bootstrap)."
    )


def _baseline_sentence(report: SearchReport) -> tuple[str, ...]:
    """The choice between two students without distillation; nothing where there is one."""
    if len(report.baselines) < 2:
        return ()
    (best, value), (other, less) = report.baselines.items()
    names = {NO_KD: "the job's own training values", NO_KD_TUNED: "the tuned training values"}
    return (
        f"The search changed training values, so the student without distillation was tuned too: with {names[best]} its "
        f"mean on the validation rows is {value:.4f}, with {names[other]} {less:.4f}; verdicts compare with the "
        "better one.",
    )


def _teachers(report: SearchReport) -> str:
    """The teachers that verdicts hold for: intervals cover rows and seeds, not the spread of other teachers."""
    teachers = sum(one.system in {TEACHER, TUNED_TEACHER} for one in report.lines)
    return {0: "these teacher logits", 1: "this teacher"}.get(teachers, "these teachers")


def _percent(one: Spread | None) -> str:
    if one is None:
        return "–"
    return f"{100 * one.mean:.2f}" + (f" ± {100 * one.sd:.2f}" if one.sd is not None else "")


def _value(value: Value) -> str:
    from raykd.tune.watch import show

    return show(value)
