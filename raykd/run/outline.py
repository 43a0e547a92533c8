"""What a run would do, said without doing any of it."""

from collections.abc import Sequence

from raykd.config import ExperimentConfig
from raykd.config.stages import STAGES, StageName
from raykd.data import storage
from raykd.run.tasks import run_folder


def outline(config: ExperimentConfig, only: Sequence[StageName] = ()) -> str:
    """A line for each stage: what it makes, from what, and whether a result is there already."""
    student, compute = config.student, config.compute
    variants = ["without KD"] * student.baseline + [f"with {student.objective.kind}"] * (student.objective.kind != "fine_tune")
    teacher = "none" if config.teacher is None else config.teacher.model
    fine_tuned = config.teacher is not None and config.teacher.fine_tune
    stages: dict[StageName, str] = {
        "teacher": f"fine-tune {teacher}" if fine_tuned else f"taken as it is: {teacher}",
        "logits": config.logits.file or f"score the training rows with the teacher, {compute.prediction_actors} actors",
        "students": f"{student.model} {' and '.join(variants)}, seeds {', '.join(map(str, student.seeds))}",
        "evaluation": f"score {'the test rows' if config.data.test else 'the selection rows'} with every model",
        "report": "compare: report.json, report.md, report.html",
    }
    engine = compute.engine.kind if compute.engine.kind == "torch" else f"deepspeed, ZeRO {compute.engine.zero_stage}"
    lines = [f"{config.name} -> {run_folder(config)}", f"{compute.workers_text} x {compute.cpus_per_worker} CPUs, {engine}"]
    wanted = [name for name in STAGES if not only or name in only]
    return "\n".join(lines + [f"  {name:<11}{stages[name]}{_state(config, name)}" for name in wanted])


def _state(config: ExperimentConfig, name: StageName) -> str:
    """A result that is there may still be an older configuration's: only a run, which reads the data, can tell."""
    made = {"teacher": "teacher/task.json", "logits": "logits/stage.json", "report": "report/report.json"}.get(name)
    return "  (a result is there)" if made and storage.exists(storage.join(run_folder(config), made)) else ""
