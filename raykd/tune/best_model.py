"""The saved result of a search: the tuned model that the validation rows prefer, with its origin."""

from raykd.config import TuneConfig
from raykd.data import storage
from raykd.tune.final_trainings import FinalTrainings
from raykd.tune.trial_metrics import best_metric


def save_best(config: TuneConfig, trainings: FinalTrainings, folder: str, provenance: dict[str, object]) -> str:
    """Copy, for each domain, the tuned model of the seed with the best validation metric; return the folder."""
    target = storage.join(folder, "best")
    sign = 1 if config.mode == "max" else -1
    for domain in dict.fromkeys(one.domain for one in trainings.trained):
        tuned = trainings.tuned(domain)
        metrics = {one.seed: best_metric(one.task) for one in tuned}
        best = max(tuned, key=lambda one: sign * metrics[one.seed])
        saved = storage.join(target, domain) if domain else target
        storage.remove(saved)
        storage.upload_dir(best.task.model_folder, saved)
        origin = {**provenance, "seed": best.seed, "domain": domain or None, "validation": metrics}
        storage.write_json(storage.join(saved, "provenance.json"), origin)
    return target
