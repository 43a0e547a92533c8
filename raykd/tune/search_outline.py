"""The outline of a search: what it would do, for ``--dry-run``."""

from raykd.config import TuneConfig
from raykd.data import storage
from raykd.run.outline_parts import seeds_text
from raykd.tune.trial_record import TrialJournal, best_of


def outline(config: TuneConfig) -> str:
    """The search space, the trials, the shared work and what is finished already, one line each."""
    base, folder = config.base, storage.join(storage.absolute(config.base.storage), config.name)
    teacher = _list(base.teacher_models) or "none; logits from a file"
    kept = TrialJournal(storage.join(folder, "trials")).read()
    ended, best = [record for record in kept if record.ended], best_of(kept, config.mode)
    there = f", {len(ended)} ended before" if ended else ""
    trained = "in the trial's actor" if base.compute.max_workers == 1 else f"on {base.compute.min_workers} workers each"
    lines = [
        f"{config.name} -> {folder}",
        f"  shared     {base.shared_work}, once: {teacher}",
        *(f"  teachers   {sentence}" for sentence in teachers_sentence(config)),
        f"  trials     {config.num_trials} by {config.searcher}, scheduler {config.scheduler.kind}, {trained}{there}",
        *(f"    {path:<40}{one.describe()}" for path, one in config.space.items()),
        f"  best       retrained with the base's own values and without distillation{_tuned_baseline(config)}, "
        f"{seeds_text(config.final_seeds)}",
        "  report     report.json, report.md, report.html, trials.csv, trials.parquet; the best model in best/",
    ]
    if best is not None:
        lines.append(f"  so far     {config.metric} {best.value:.4f} with {best.values}")
    return "\n".join(lines)


def teachers_sentence(config: TuneConfig) -> tuple[str, ...]:
    """The number of trainings of trials' own teachers: one sentence, or an empty tuple."""
    most = config.max_trial_teachers
    if not most:
        return ()
    several = "s" if most > 1 else ""
    return (
        f"{_list(config.teacher_paths)} train{'' if len(config.teacher_paths) > 1 else 's'} the teacher again for each value: "
        f"once for the job's own, and up to {most} more training{several} and export{several} of logits during the trials",
    )


def _tuned_baseline(config: TuneConfig) -> str:
    return " (with the base's and with the tuned training values)" if config.baseline_paths else ""


def _list(values: tuple[object, ...]) -> str:
    return ", ".join(map(str, values))
