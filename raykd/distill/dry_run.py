"""Summary of a distillation run, without doing any of it."""

from collections.abc import Sequence

from raykd.cluster import with_worker_cpus
from raykd.config import ExperimentConfig, StudentVariant
from raykd.data import storage
from raykd.distill.tasks import student_models, student_name, task_folders, teacher_name
from raykd.run.outline_parts import results_note, seeds_text, settings_note
from raykd.run.task import run_folder
from raykd.stage_names import STAGES, StageName


def outline(config: ExperimentConfig, only: Sequence[StageName] = ()) -> str:
    """A line for each stage: what it makes, from what, and whether a result exists."""
    compute = with_worker_cpus(config.compute)
    folds = f", {config.logits.folds} more without a fold of the rows each" if config.logits.folds else ""
    teachers = [
        f"fine-tune {one.model}{folds}" if one.fine_tune else f"taken as it is: {one.model}" for one in config.every_teacher
    ]
    stages: dict[StageName, str] = {
        "teacher": "; ".join(teachers) or "none",
        "logits": _logits(config),
        "students": _students(config),
        "evaluation": f"score {'the test rows' if config.data.has_test_set else 'the validation rows'} with every model",
        "report": "compare: report.json, report.md, report.html",
    }
    lines = [
        f"{config.name} -> {run_folder(config)}",
        f"{compute.workers_text} x {compute.worker_cpus} CPUs, {compute.engine.description}, placement {compute.placement}",
    ]
    wanted = [name for name in STAGES if not only or name in only]
    lines += [f"  {name:<11}{stages[name]}{results_note(_manifests(config, name))}" for name in wanted]
    return "\n".join(lines + settings_note(config, run_folder(config)))


def _students(config: ExperimentConfig) -> str:
    """The variants, each with its objective, and their seeds."""
    variants = [_variant(one) for one in config.student_variants]
    return f"{', '.join(config.student_models)}: {'; '.join(variants)}; {seeds_text(config.student.seeds)}"


def _variant(variant: StudentVariant) -> str:
    section = variant.student.intermediate
    words = [variant.student.objective.kind, *([] if section is None else [section.summary])]
    extra = [variant.student.init.summary] if variant.student.init is not None else []
    extra += [f"tokens that stand {variant.student.vocabulary.min_count} times"] if variant.student.vocabulary else []
    extra += ["labelled rows"] * (variant.rows == "labelled") + ["augmented views"] * variant.augment
    return f"{variant.name} ({', '.join([' '.join(words), *extra])})"


def _logits(config: ExperimentConfig) -> str:
    if not config.distils_from_teacher:
        return "none"
    actors = config.compute.prediction_actors
    return config.logits.file or f"score the training rows with the teacher, {actors} actor{'s' * (actors > 1)}"


def _manifests(config: ExperimentConfig, name: StageName) -> list[str]:
    """The files that a stage's results write last."""
    if name in {"teacher", "students"}:
        return [storage.join(folder, "task.json") for stage, folder in task_folders(config) if stage == name]
    if name == "evaluation":
        scored = [teacher_name(config, number) for number, _ in enumerate(config.every_teacher)]
        scored += [f"{student_name(variant)} seed {seed}" for variant, seed, _ in student_models(config)]
        return [storage.join(run_folder(config), name, one.replace(" ", "-"), "stage.json") for one in scored]
    return [storage.join(run_folder(config), name, "report.json" if name == "report" else "stage.json")]
