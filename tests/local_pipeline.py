"""The whole distillation with its trainings and scorings in this process, without Ray."""

from collections.abc import Callable, Sequence
from typing import Any

from raykd.config import ExperimentConfig
from raykd.data.side_tables import SideTable
from raykd.data.step_stream import local_feed
from raykd.distill.pipeline import Pipeline
from raykd.predict import ScoreJob, score_locally
from raykd.run.build_objective import BuildObjective, build_objective
from raykd.run.progress import Terminal
from raykd.run.task import TrainTask
from raykd.run.train_task import run_task
from raykd.trainers.context import local_context
from raykd.trainers.events import TrainingEvent


class LocalGroup:
    """Trains in this process; knows what it was asked for."""

    def __init__(self, build_objective: BuildObjective = build_objective) -> None:
        self.asked: list[list[str]] = []
        self.build_objective = build_objective

    def run(self, tasks: Sequence[TrainTask], on_event: Callable[[str, TrainingEvent], None]) -> None:
        self.asked.append([task.name for task in tasks])
        with local_context() as context:
            for task in tasks:
                name = task.name
                listener = lambda event, name=name: on_event(name, event)  # noqa: E731
                run_task(task, context, build_feed=local_feed, build_objective=self.build_objective, listeners=(listener,))

    def close(self) -> None:
        pass


class LocalPipeline(Pipeline):
    """Everything but Ray."""

    def __init__(self, config: ExperimentConfig) -> None:
        super().__init__(config, only=(), terminal=Terminal())
        self.group: Any = LocalGroup()
        self.jobs: list[ScoreJob] = []
        self.said: list[str] = []
        self.terminal.say = self.said.append  # type: ignore[method-assign]

    def start_ray(self) -> None:
        """Nobody needs it."""

    def score(self, jobs: Sequence[ScoreJob], what: str) -> list[SideTable]:
        self.jobs += jobs
        return score_locally(jobs)

    @property
    def trained(self) -> list[str]:
        return [name for names in self.group.asked for name in names]
