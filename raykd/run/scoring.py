"""Scoring of rows with models: one policy of device, precision and number of actors for every kind of job."""

from collections.abc import Sequence

import torch

from raykd.cluster import uses_gpu, wait_for_resources
from raykd.config import ComputeConfig
from raykd.data.prepare import Progress
from raykd.data.side_tables import SideTable
from raykd.predict import ScoreJob, score, score_locally
from raykd.predict.answer_scorer import AnswerScorer
from raykd.predict.scorer import Scorer
from raykd.predict.scoring_job import BATCH_ROWS


def report_compute(compute: ComputeConfig) -> ComputeConfig:
    """The settings that rows of a report are scored with: fp32, so that rounding decides no prediction."""
    return compute.model_copy(update={"precision": "fp32"})


def score_in_process(jobs: Sequence[ScoreJob], compute: ComputeConfig, device: torch.device) -> list[SideTable]:
    """Score rows with models in this process, on the device and with the threads that it trains with.

    The same numbers as :func:`score_models` on such a device. Raises ModelError, DataError.
    """
    return score_locally(jobs, threads=torch.get_num_threads(), precision=compute.precision, use_gpu=device.type == "cuda")


def score_models(
    jobs: Sequence[ScoreJob],
    compute: ComputeConfig,
    *,
    batch_rows: int = BATCH_ROWS,
    progress: Progress | None = None,
    scorer: type[Scorer] = AnswerScorer,
) -> list[SideTable]:
    """Score rows with models by ``compute``: the only function that decides device, precision and number of actors.

    Ray must be up. Waits for the resources of one actor, at most ``start_timeout_s``.

    Raises ResourceError, ModelError, DataError.
    """
    use_gpu = uses_gpu(compute)
    actor = {"CPU": float(compute.cpus_per_worker)} | ({"GPU": 1.0} if use_gpu else {})
    wait_for_resources([actor], "a prediction actor", limit_s=compute.start_timeout_s)
    return score(
        jobs,
        actors=compute.prediction_actors,
        cpus_per_actor=compute.cpus_per_worker,
        batch_rows=batch_rows,
        precision=compute.precision,
        use_gpu=use_gpu,
        progress=progress,
        scorer=scorer,
    )
