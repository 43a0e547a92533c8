"""Whole pipelines in this process, without Ray: for tests of what is made, in which order."""

from collections.abc import Callable, Sequence
from typing import Any

from raykd.config import ExperimentConfig, MetaKDConfig
from raykd.data.side_tables import SideTable
from raykd.data.step_stream import local_feed
from raykd.distill.pipeline import DistillationPipeline
from raykd.metakd.pipeline import MetaKDPipeline
from raykd.predict import ScoreJob, score_locally
from raykd.predict.answer_scorer import AnswerScorer
from raykd.predict.scorer import Scorer
from raykd.run.build_objective import BuildObjective, build_objective
from raykd.run.stages import StageRunner
from raykd.run.task import TrainTask
from raykd.run.train_task import run_task
from raykd.run.worker_group import MoreTasks
from raykd.stage_names import MetaStageName, StageName
from raykd.trainers.context import local_context
from raykd.trainers.events import TrainingEvent


class LocalGroup:
    """Trains in this process; records the names of the tasks of each call."""

    def __init__(self, build_objective: BuildObjective = build_objective) -> None:
        self.asked: list[list[str]] = []
        self.build_objective = build_objective

    def run(self, tasks: Sequence[TrainTask], on_event: Callable[[str, TrainingEvent], None], more: MoreTasks = tuple) -> None:
        self.asked.append([])
        with local_context() as context:
            while tasks:
                for task in tasks:
                    self.asked[-1].append(name := task.name)
                    listener = lambda event, name=name: on_event(name, event)  # noqa: E731
                    run_task(task, context, build_feed=local_feed, build_objective=self.build_objective, listeners=(listener,))
                tasks = more()

    def close(self) -> None:
        pass


class LocalRunner(StageRunner):
    """Trains and scores in this process; records what it was asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.group = LocalGroup(self._build_objective)
        self.jobs: list[ScoreJob] = []
        self.said: list[str] = []
        self.terminal.print_line = self.said.append  # type: ignore[method-assign]  # a stand-in of the method

    def prepare_ray(self) -> None:
        pass

    def start_ray(self) -> None:
        pass

    def start_workers(self, stage: str) -> None:
        pass

    def train_beside(self, stage: str, tasks: Sequence[TrainTask]) -> None:
        pass

    def score(
        self, jobs: Sequence[ScoreJob], title: str, scorer: type[Scorer] = AnswerScorer, *, for_report: bool = False
    ) -> list[SideTable]:
        self.jobs += jobs
        return score_locally(jobs, scorer=scorer)

    def _run_tasks(self, stage: str, tasks: Sequence[TrainTask]) -> None:
        self.group.run(tasks, self.terminal.record)


class LocalPipeline(DistillationPipeline):
    """Everything but Ray."""

    runner: LocalRunner

    def __init__(self, config: ExperimentConfig, *, only: Sequence[StageName] = ()) -> None:
        super().__init__(config, only=only, runner_class=LocalRunner)

    @property
    def trained(self) -> list[str]:
        return [name for names in self.runner.group.asked for name in names]


class LocalMetaPipeline(MetaKDPipeline):
    """The same for Meta-KD."""

    runner: LocalRunner

    def __init__(self, config: MetaKDConfig, *, only: Sequence[MetaStageName] = ()) -> None:
        super().__init__(config, only=only, runner_class=LocalRunner)

    @property
    def trained(self) -> list[str]:
        return [name for names in self.runner.group.asked for name in names]

    @property
    def scored(self) -> int:
        return len(self.runner.jobs)
