"""Importance of hyperparameters over trials of which a scheduler may have stopped some early."""

from collections.abc import Sequence

import optuna

from raykd.config import TuneConfig
from raykd.tune.trial_record import TrialRecord
from raykd.tune.trial_sampler import distribution, frozen

AT_LEAST = 4
"""Minimum number of trials."""


def importances(config: TuneConfig, records: Sequence[TrialRecord]) -> tuple[dict[str, float], int] | None:
    """Share of the metric's variance that each hyperparameter explains, the largest first, and the step of the metrics.

    fANOVA (Hutter et al. 2014, ICML), on the metrics of :func:`at_one_step`. None with fewer than four trials, or when all
    metrics are equal.
    """
    known, step = at_one_step(records)
    if len(known) < AT_LEAST or len({record.value for record in known}) < 2:
        return None
    distributions = {path: distribution(one) for path, one in config.space.items()}
    distributions = {path: one for path, one in distributions.items() if len({str(r.values[path]) for r in known}) > 1}
    study = optuna.create_study(direction="maximize" if config.mode == "max" else "minimize")
    study.add_trials([frozen(record, distributions) for record in known])
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {path: float(share) for path, share in shares.items()}, step


def at_one_step(records: Sequence[TrialRecord]) -> tuple[list[TrialRecord], int]:
    """Trials with their best metric up to the last step that all of them reached, and that step; failed trials are left out.

    A trial that was stopped early had fewer steps, which is no effect of its values.
    """
    ran = [record for record in records if record.status in {"finished", "stopped"} and record.value is not None]
    if any(record.status == "stopped" and not record.curve for record in ran):
        ran = [record for record in ran if record.status == "finished"]
    step = min((record.step for record in ran), default=0)
    if all(record.status == "finished" for record in ran):
        return ran, step  # the loop ended them all: by the last step, or by patience
    bests = {record.index: [value for at, value in record.curve if at <= step] for record in ran}
    reached = [record for record in ran if bests[record.index]]  # from here on as good as finished: at one step
    return [record.model_copy(update={"value": bests[record.index][-1], "status": "finished"}) for record in reached], step
