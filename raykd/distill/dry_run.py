"""Summary of a distillation run, without doing any of it."""

from collections.abc import Sequence

from raykd.cluster import with_worker_cpus
from raykd.config import ExperimentConfig, StudentVariant
from raykd.data import storage
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
    return "\n".join(lines + [f"  {name:<11}{stages[name]}{_state(config, name)}" for name in wanted])


def _students(config: ExperimentConfig) -> str:
    """The variants, each with its objective, and their seeds."""
    variants = [_variant(one) for one in config.student_variants]
    return f"{', '.join(config.student_models)}: {'; '.join(variants)}; seeds {', '.join(map(str, config.student.seeds))}"


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


def _state(config: ExperimentConfig, name: StageName) -> str:
    """Note on an existing result, which may be of an older configuration: only a run, which reads the data, compares keys."""
    made = {"teacher": "teacher/task.json", "logits": "logits/stage.json", "report": "report/report.json"}.get(name)
    return "  (a result is there)" if made and storage.exists(storage.join(run_folder(config), made)) else ""
