"""What a search would do, said without doing any of it."""

from raykd.config import MetaKDConfig, TuneConfig
from raykd.config.tune import Choice, Grid, Knob, QUniform
from raykd.data import storage
from raykd.tune.trial_record import Journal, best_of


def outline(config: TuneConfig) -> str:
    """The knobs, how trials run, what is shared, and what is there already."""
    base, folder = config.base, storage.join(storage.absolute(config.base.storage), config.name)
    meta = isinstance(base, MetaKDConfig)
    models = (base.teacher.model,) if isinstance(base, MetaKDConfig) else tuple(one.model for one in base.every_teacher)
    teacher = _list(models) or "none; logits from a file"
    kept = Journal(storage.join(folder, "trials")).read()
    ended, best = [record for record in kept if record.ended], best_of(kept, config.mode)
    there = f", {len(ended)} ended before" if ended else ""
    trained = "in the trial's actor" if base.compute.max_workers == 1 else f"on {base.compute.min_workers} workers each"
    lines = [
        f"{config.name} -> {folder}",
        f"  shared     {'the meta-teacher, its logits and weights' if meta else 'teacher and logits'}, once: {teacher}",
        *(f"  teachers   {sentence}" for sentence in teachers_sentence(config)),
        f"  trials     {config.planned} by {config.searcher}, scheduler {config.scheduler.kind}, {trained}{there}",
        *(f"    {path:<40}{_knob(knob)}" for path, knob in config.space.items()),
        f"  best       retrained with the base's own values and without distillation{_tuned_baseline(config)}, "
        f"seeds {_list(config.final_seeds)}",
        "  report     report.json, report.md, report.html, trials.csv, trials.parquet; the best model in best/",
    ]
    if best is not None:
        lines.append(f"  so far     {config.metric} {best.value:.4f} with {best.values}")
    return "\n".join(lines)


def teachers_sentence(config: TuneConfig) -> tuple[str, ...]:
    """How often the teacher is trained, where trials have teachers of their own; a sentence, or none."""
    most = config.most_teachers
    if not most:
        return ()
    several = "s" if most > 1 else ""
    return (
        f"{_list(config.teacher_knobs)} train{'' if len(config.teacher_knobs) > 1 else 's'} the teacher again for each value: "
        f"once for the job's own, and up to {most} more training{several} and export{several} of logits during the trials",
    )


def _tuned_baseline(config: TuneConfig) -> str:
    return " (with the base's and with the tuned training values)" if config.baseline_knobs else ""


def _knob(knob: Knob) -> str:
    if isinstance(knob, Choice | Grid):
        return f"{knob.kind} of {_list(knob.values)}"
    step = f" in steps of {knob.step:g}" if isinstance(knob, QUniform) else ""
    return f"{knob.kind} {knob.low:g} to {knob.high:g}{step}"


def _list(values: tuple[object, ...]) -> str:
    return ", ".join(map(str, values))
