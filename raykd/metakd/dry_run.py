"""Summary of a Meta-KD run, without doing any of it."""

from collections.abc import Sequence

from raykd.cluster import with_worker_cpus
from raykd.config import MetaKDConfig
from raykd.data import storage
from raykd.metakd.tasks import TEACHER_OF, methods, students, teachers
from raykd.run.task import run_folder
from raykd.stage_names import META_STAGES, MetaStageName


def outline(config: MetaKDConfig, only: Sequence[MetaStageName] = ()) -> str:
    """A line for each stage: what it makes, from what, and whether a result exists."""
    student, compute = config.student, with_worker_cpus(config.compute)
    distillation = "the single objective" if student.mode == "single" else "intermediate then prediction layers"
    distilled = [method for method in methods(config) if method in TEACHER_OF]
    source_of_students = student.model if student.init is None else f"{student.model} ({student.init.summary})"
    source = config.reviews.folder if config.reviews else ", ".join(config.data.train if config.data else ())
    stages: dict[MetaStageName, str] = {
        "split": source,
        "weights": f"{config.weights.kind}, from {config.weights.encoder or config.teacher.model}",
        "teachers": f"{len(teachers(config))} of {config.teacher.model}",
        "logits": f"of {', '.join(dict.fromkeys(kind for kind, _ in teachers(config)))} teachers on their training rows",
        "students": f"{len(students(config, distilled=True))} of {source_of_students}, {distillation}: {', '.join(distilled)}; "
        f"{', '.join(config.chosen_domains)}; seeds {', '.join(map(str, student.seeds))}; "
        f"{len(students(config, distilled=False))} on hard labels",
        "evaluation": "test rows of each domain",
        "report": "report.json, report.md",
    }
    lines = [
        f"{config.name} -> {run_folder(config)}",
        f"{compute.workers_text} x {compute.worker_cpus} CPUs, {compute.engine.description}, placement {compute.placement}",
    ]
    wanted = [name for name in META_STAGES if not only or name in only]
    return "\n".join(lines + [f"  {name:<11}{stages[name]}{_state(config, name)}" for name in wanted])


def _state(config: MetaKDConfig, name: MetaStageName) -> str:
    """Note on an existing result, which may be of an older configuration: only a run, which reads the data, compares keys."""
    made = {
        "split": "split/stage.json",
        "weights": "weights/stage.json",
        "teachers": "teachers/meta/task.json",
        "logits": "logits/meta/stage.json",
        "evaluation": "evaluation/stage.json",
        "report": "report/report.json",
    }.get(name)
    return "  (a result is there)" if made and storage.exists(storage.join(run_folder(config), made)) else ""
