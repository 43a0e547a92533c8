"""Summary of a Meta-KD run, without doing any of it."""

from collections.abc import Sequence

from raykd.cluster import with_worker_cpus
from raykd.config import MetaKDConfig
from raykd.data import storage
from raykd.metakd.tasks import TEACHER_OF, logits_subfolder, methods, students, task_folders, teachers
from raykd.run.outline_parts import results_note, seeds_text, settings_note
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
        f"{', '.join(config.chosen_domains)}; {seeds_text(student.seeds)}; "
        f"{len(students(config, distilled=False))} on hard labels",
        "evaluation": "test rows of each domain",
        "report": "report.json, report.md",
    }
    lines = [
        f"{config.name} -> {run_folder(config)}",
        f"{compute.workers_text} x {compute.worker_cpus} CPUs, {compute.engine.description}, placement {compute.placement}",
    ]
    wanted = [name for name in META_STAGES if not only or name in only]
    lines += [f"  {name:<11}{stages[name]}{results_note(_manifests(config, name))}" for name in wanted]
    return "\n".join(lines + settings_note(config, run_folder(config)))


def _manifests(config: MetaKDConfig, name: MetaStageName) -> list[str]:
    """The files that a stage's results write last."""
    folder = run_folder(config)
    if name in {"teachers", "students"}:
        return [storage.join(task, "task.json") for stage, task in task_folders(config) if stage == name]
    if name == "logits":
        return [storage.join(folder, logits_subfolder(kind, domains), "stage.json") for kind, domains in teachers(config)]
    return [storage.join(folder, name, "report.json" if name == "report" else "stage.json")]
