"""Tables and sentences of a search's report, and the report as Markdown."""

import pyarrow as pa

from raykd.report.markdown import pipe_table
from raykd.report.system import Spread
from raykd.report.verdicts import seeds_text, spread_caveats
from raykd.task_kinds import task_kind
from raykd.tune.search_report import SearchContrast, SearchReport
from raykd.tune.search_systems import NO_KD, NO_KD_TUNED, REFERENCES, TEACHER, TITLES, TUNED_TEACHER
from raykd.tune.trial_record import SharedWorkCount
from raykd.tune.trial_text import short_names, value_text

Table = tuple[list[str], list[list[str]]]
"""Header and rows."""
SCHEDULE_TITLE = "Values of the best trial over time"


def trial_table(report: SearchReport) -> pa.Table:
    """A row for each trial, a column for each hyperparameter."""
    rows = []
    for record in report.trials:
        columns = record.model_dump(include={"index", "status", "value", "step", "seconds", "attempts", "reason"})
        path = "; ".join(f"from step {one.step} trial {one.trial} with {one.values}" for one in record.lineage)
        rows.append({**columns, **record.values, **record.work.model_dump(), **({"lineage": path} if record.lineage else {})})
    return pa.Table.from_pylist(rows)


def markdown(report: SearchReport) -> str:
    """The report as Markdown; the plots are in the HTML."""
    sections = [
        f"# {report.name}",
        "\n".join(f"**{text}**" if number == 0 else f"\n{text}" for number, text in enumerate(conclusion(report))),
        f"{summary(report)}",
        pipe_table(*result_table(report)),
        "## Values found\n\n" + pipe_table(*value_table(report)),
        f"## {SCHEDULE_TITLE}\n\n{schedule_sentence(report)}\n\n" + pipe_table(*schedule_table(report))
        if report.lineage
        else "",
        "## Trials\n\n" + pipe_table(*trials_table(report)),
        work_sentence(report.work),
        "\n".join(f"- {key}: {value}" for key, value in report.environment.items()),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def conclusion(report: SearchReport) -> tuple[str, ...]:
    """The verdicts as sentences."""
    verdicts = [_verdict_sentence(report, one) for one in report.contrasts]
    caveats = spread_caveats([one.result for one in report.contrasts], "final_seeds") if verdicts else []
    return (*verdicts, *_baseline_sentence(report), *caveats)


def summary(report: SearchReport) -> str:
    """The course of the search in a sentence."""
    count = {status: sum(one.status == status for one in report.trials) for status in ("finished", "stopped", "failed")}
    best = report.trials[[one.index for one in report.trials].index(report.best)]
    return (
        f"{len(report.trials)} trials by {report.searcher}, scheduler {report.scheduler}: {count['finished']} finished, "
        f"{count['stopped']} stopped early, {count['failed']} failed. Best on the validation rows: trial {report.best}, "
        f"{report.metric} {best.value:.4f}. Test rows were read once, after the search, with {len(report.seeds)} seeds."
    )


def result_table(report: SearchReport) -> Table:
    """The headline metric on the test rows."""
    domains = [domain for domain in report.rows if domain]
    body = [
        [TITLES[one.system], *(_percent(one.domains.get(domain)) for domain in domains), _percent(one.average)]
        for one in report.lines
    ]
    return [f"{task_kind(report.task).headline.title} % on test rows", *domains, "average" if domains else "all rows"], body


def value_table(report: SearchReport) -> Table:
    """The values found, and the importance of each hyperparameter."""
    shares = report.importances or {}
    body = [
        [
            path,
            value_text(report.default_values.get(path)),
            value_text(report.values[path]),
            f"{shares[path]:.0%}" if path in shares else "–",
        ]
        for path in report.hyperparameters
    ]
    at = f" at step {report.importance_step}" if shares else ""
    best = "best trial, at its end" if report.lineage else "best trial"
    return ["hyperparameter", "the job's own", best, f"explains of the variance{at} (fANOVA)"], body


def schedule_sentence(report: SearchReport) -> str:
    """The use of values that changed during training."""
    return (
        f"Trial {report.best} took over weights, and its values changed: the final students were trained with this whole "
        "schedule, its steps scaled to the full budget."
    )


def schedule_table(report: SearchReport) -> Table:
    """The best trial's values over time, and the trials that trained its weights."""
    body = [
        [str(one.step), str(one.trial), *(value_text(one.values[path]) for path in report.hyperparameters)]
        for one in report.lineage
    ]
    return ["from step", "trained by trial", *short_names(report.hyperparameters)], body


def trials_table(report: SearchReport) -> Table:
    """Every trial."""
    body = [
        [
            str(one.index),
            *(value_text(one.values[path]) for path in report.hyperparameters),
            "–" if one.value is None else f"{one.value:.4f}",
            str(one.step),
            f"{one.seconds:.0f}",
            one.status + (f": {one.reason}" if one.status == "failed" else ""),
        ]
        for one in report.trials
    ]
    return ["trial", *short_names(report.hyperparameters), report.metric, "steps", "seconds", "state"], body


def work_sentence(work: SharedWorkCount) -> str:
    """The work of the trials that they should share."""
    return (
        f"During the trials: {work.teacher_trainings} teacher trainings, {work.logit_exports} exports of logits, "
        f"{work.teacher_forwards} forward passes of a teacher."
    )


def _verdict_sentence(report: SearchReport, one: SearchContrast) -> str:
    result, domains, metric = one.result, len(report.rows), task_kind(report.task).headline
    mean = f", mean over {domains} domains" if domains > 1 else ""
    return (
        f"Tuned against {REFERENCES[one.reference]}, with {_teachers(report)}: {result.wording}, "
        f"{metric.difference(result.difference)} points of {metric.title}, 95% interval "
        f"{metric.difference(result.low)} to {metric.difference(result.high)} ({result.rows:,} test rows{mean}, "
        f"{seeds_text(result)}, paired bootstrap)."
    )


def _teachers(report: SearchReport) -> str:
    """The teachers that verdicts hold for: intervals cover rows and seeds, not the spread of other teachers."""
    teachers = sum(one.system in {TEACHER, TUNED_TEACHER} for one in report.lines)
    return {0: "these teacher logits", 1: "this teacher"}.get(teachers, "these teachers")


def _baseline_sentence(report: SearchReport) -> tuple[str, ...]:
    """The choice between two students without distillation; nothing with one."""
    if len(report.baselines) < 2:
        return ()
    (best, value), (other, less) = report.baselines.items()
    names = {NO_KD: "the job's own training values", NO_KD_TUNED: "the tuned training values"}
    return (
        f"The search changed training values, so the student without distillation was tuned too: with {names[best]} its "
        f"mean on the validation rows is {value:.4f}, with {names[other]} {less:.4f}; verdicts compare with the better one.",
    )


def _percent(one: Spread | None) -> str:
    if one is None:
        return "–"
    return f"{100 * one.mean:.2f}" + (f" ± {100 * one.sd:.2f}" if one.sd is not None else "")
