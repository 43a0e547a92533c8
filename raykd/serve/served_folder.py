"""The model folder that a command is to serve: given itself, or the best student of a run."""

from raykd.data import storage
from raykd.errors import ConfigError
from raykd.report.files import read_report


def served_folder(path: str) -> str:
    """The folder of a model; of a run the student that is best in the headline metric. Raises ConfigError for anything else."""
    if storage.exists(storage.join(path, "config.json")):
        return path
    if storage.exists(storage.join(path, "experiment.json")):
        return _best_student(path)
    advice = "give the folder of a trained model, or of a run"
    if not storage.is_dir(path):
        raise ConfigError(f"{path} does not exist; {advice}")
    raise ConfigError(f"{path} is neither a model folder nor a run: it has no config.json and no experiment.json; {advice}")


def _best_student(run: str) -> str:
    """The model of the best variant and seed on the report's rows; the first variant, the baseline, only where it is alone."""
    from raykd.task_kinds import task_kind

    report = read_report(storage.join(run, "report"))
    sign = -1 if task_kind(report.task).smaller_is_better(report.headline) else 1
    students = [system for system in report.systems if system.role == "student"]
    found = [
        (sign * value, storage.join(run, f"students/{system.name}-seed{seed}/model"))
        for system in students[1:] or students
        for value, seed in zip(system.metrics[report.headline].values, system.seeds, strict=True)
    ]
    for _, folder in sorted(found, key=lambda one: -one[0]):  # of equal ones the first
        if storage.exists(storage.join(folder, "config.json")):
            return folder
    raise ConfigError(f"{run} has no student of its report; give the folder of a model")
