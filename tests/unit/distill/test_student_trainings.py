"""Order of the students' trainings: those that need no teacher are queued before it trains."""

from collections.abc import Callable, Sequence

from raykd.config import ExperimentConfig
from raykd.run.task import TrainTask
from raykd.stage_names import StageName
from tests.local_pipeline import LocalPipeline


class Queued(LocalPipeline):
    """Records what is queued beside other trainings, and how much is trained by then."""

    def __init__(self, config: ExperimentConfig, *, only: Sequence[StageName] = ()) -> None:
        super().__init__(config, only=only)
        self.beside: list[tuple[str, list[str], int]] = []
        self.runner.train_beside = self._note  # type: ignore[method-assign]  # a stand-in of the method

    def _note(self, stage: str, tasks: Sequence[TrainTask]) -> None:
        self.beside.append((stage, [task.name for task in tasks], len(self.trained)))


def test_students_on_labels_alone_do_not_wait_for_the_teacher(experiment: Callable[..., ExperimentConfig]) -> None:
    training = {"epochs": 1, "batch_size": 16}
    config = experiment(teacher__training=training, student__training=training, compute__engine={"kind": "torch"})
    pipeline = Queued(config)
    students = pipeline.students()
    assert pipeline.beside == [("students", ["student no kd seed 1", "student no kd seed 2"], 0)]
    assert pipeline.trained[0] == "teacher"
    keys = {one.task.name: one.task.key for one in students}
    assert len(keys) == 4

    later = Queued(config, only=["students"])
    later.students()
    assert later.beside == [("students", [], 0)], "with the teacher there, all students are one queue"
    assert later.trained == []
