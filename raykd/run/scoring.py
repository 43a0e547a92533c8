"""Scoring of rows with models: one policy of device, precision and number of actors for every kind of job."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from raykd.cluster import uses_gpu, wait_for_resources
from raykd.config import ComputeConfig
from raykd.data.kept_actors import KeptActors, LentWorkers
from raykd.data.prepare import Progress
from raykd.data.side_tables import SideTable
from raykd.predict import ScoreJob, score, score_locally
from raykd.predict.answer_scorer import AnswerScorer
from raykd.predict.import_scorer import import_scorer
from raykd.predict.scorer import Scorer
from raykd.predict.scoring_job import BATCH_ROWS
from raykd.run.worker_group import OnEvent
from raykd.session import is_local_ray
from raykd.trainers.events import Ended, StepMetrics, TrainingEvent

SCORING_STAGES = frozenset({"logits", "evaluation", "report"})
"""Stages that score rows with trained models."""
NEAR_END = 0.8
"""Fraction of a training's steps after which the scoring actors start."""


def report_compute(compute: ComputeConfig) -> ComputeConfig:
    """The settings that rows of a report are scored with: fp32, so that rounding decides no prediction."""
    return compute.model_copy(update={"precision": "fp32"})


def score_in_process(jobs: Sequence[ScoreJob], compute: ComputeConfig, device: torch.device) -> list[SideTable]:
    """Score rows with models in this process, on the device and with the threads that it trains with.

    The same numbers as :func:`score_models` on such a device. Raises ModelError, DataError.
    """
    return score_locally(
        jobs,
        threads=torch.get_num_threads(),
        precision=compute.precision,
        use_gpu=device.type == "cuda",
        unpadded=compute.unpadded,
    )


def score_models(
    jobs: Sequence[ScoreJob],
    compute: ComputeConfig,
    *,
    batch_rows: int = BATCH_ROWS,
    progress: Progress | None = None,
    scorer: type[Scorer] = AnswerScorer,
    kept: KeptActors | None = None,
) -> list[SideTable]:
    """Score rows with models by ``compute``: the only function that decides device, precision and number of actors.

    Ray must be up. Actors that are ``kept`` score in place of new ones. Waits for the resources of one actor, at most
    ``start_timeout_s``.

    Raises ResourceError, ModelError, DataError.
    """
    use_gpu = uses_gpu(compute)
    actor = {"CPU": float(compute.worker_cpus)} | ({"GPU": 1.0} if use_gpu else {})
    wait_for_resources([actor], "a prediction actor", limit_s=compute.start_timeout_s)
    return score(
        jobs,
        actors=compute.prediction_actors,
        cpus_per_actor=compute.worker_cpus,
        batch_rows=batch_rows,
        precision=compute.precision,
        use_gpu=use_gpu,
        unpadded=compute.unpadded,
        progress=progress,
        scorer=scorer,
        kept=kept,
    )


class ScoringActors:
    """The processes that score in a run on a Ray of this machine: training workers that wait, or actors that live on.

    Training workers have imported everything. Where fewer of them wait than score, actors start near the end of the training
    before, and live to the report. Elsewhere, and where a GPU is used, every scoring starts and ends its own, because idle ones
    would hold what others need.
    """

    def __init__(self, compute: ComputeConfig, stages: Iterable[str]) -> None:
        """``stages`` are those that may be made: without one that scores, nothing starts early."""
        self._compute = compute
        self._scores = not SCORING_STAGES.isdisjoint(stages)
        self._kept: KeptActors | None = None
        self._in_training: set[str] = set()

    def expect(self, trainings: Iterable[str], *, workers: int) -> None:
        """Name the trainings after which rows are scored, and the number of workers that wait then."""
        starts = self._scores and workers < self._compute.prediction_actors
        self._in_training = set(trainings) if starts else set()

    def listening(self, on_event: OnEvent) -> OnEvent:
        """Return a listener that calls ``on_event``, and starts the actors near the end of the last training expected."""

        def listen(name: str, event: TrainingEvent) -> None:
            on_event(name, event)
            self._note(name, event)

        return listen

    def _note(self, name: str, event: TrainingEvent) -> None:
        if isinstance(event, Ended):
            self._in_training.discard(name)
        elif isinstance(event, StepMetrics) and self._in_training == {name} and event.step >= NEAR_END * event.total_steps:
            self._in_training.clear()
            kept = self.for_scoring(())
            if kept is not None:
                kept.start()

    def for_scoring(self, workers: Sequence[Any]) -> KeptActors | None:
        """The processes that score, ``workers`` that wait if there are enough; None where every scoring starts its own."""
        if not is_local_ray() or uses_gpu(self._compute):
            return None
        count = self._compute.prediction_actors
        if self._kept is None:
            self._kept = KeptActors(count, preload=import_scorer)
        return LentWorkers(workers[:count], self._kept) if len(workers) >= count else self._kept

    def close(self) -> None:
        """End the actors; a later scoring starts others."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
