"""Common behaviour of the stages of every job kind: one policy of scoring, skipping, the stages that may be made."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from raykd.config import ComputeConfig, FineTuneConfig, TorchEngineConfig, TrainingConfig
from raykd.data.side_tables import SideTable
from raykd.errors import ConfigError, DataError
from raykd.metakd.embeddings import Embedder
from raykd.metakd.pipeline import MetaKDPipeline
from raykd.placement import AvailableResources, Placement, place
from raykd.predict import ScoreJob, score_locally
from raykd.predict.answer_scorer import AnswerScorer
from raykd.predict.scorer import Scorer
from raykd.progress import Terminal
from raykd.run import scoring, stages
from raykd.run.stages import StageRunner
from raykd.run.task import TrainTask
from tests.local_pipeline import LocalRunner
from tests.unit.metakd.worlds import make_config


def runner(folder: Path, *wanted: str) -> StageRunner:
    return StageRunner(
        name="run", folder=str(folder), cache=str(folder / "cache"), compute=ComputeConfig(), stages=wanted, terminal=Terminal()
    )


@pytest.mark.parametrize(("given", "shown"), [({}, False), ({"cpus_per_worker": 1}, True)])
def test_cpus_without_a_thread_are_shown_where_the_job_named_a_number(
    given: dict[str, int], shown: bool, tmp_path: Path
) -> None:
    terminal = Terminal()
    StageRunner(name="run", folder=str(tmp_path), cache="", compute=ComputeConfig(**given), stages=(), terminal=terminal)
    assert terminal.shows_idle_cpus is shown


def test_a_stage_is_skipped_by_its_key_and_made_only_when_asked_for(tmp_path: Path) -> None:
    both, one = runner(tmp_path, "logits", "report"), runner(tmp_path, "report")
    stage = both.stage("logits/meta", "rows")
    with pytest.raises(ConfigError, match="stage report needs the stage logits, which is not finished; run that first"):
        one.skip_or_begin(stage)
    assert not both.skip_or_begin(stage)
    stage.finish()
    assert one.skip_or_begin(stage)
    assert not both.skip_or_begin(both.stage("logits/meta", "other rows"))
    assert not stage.is_done(), "what another key has begun to replace is no result"


def test_meta_kd_scores_with_the_jobs_device_and_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings and teacher logits; they were scored on the CPU, in `auto`, whatever the job said."""
    made: list[tuple[type[Scorer], str, bool]] = []

    def score(jobs: Sequence[ScoreJob], *, precision: str, use_gpu: bool, scorer: type[Scorer], **_: Any) -> list[SideTable]:
        made.append((scorer, precision, use_gpu))
        return score_locally(jobs, scorer=scorer)

    class Runner(LocalRunner):
        score = StageRunner.score

    wanted: list[dict[str, float]] = []
    monkeypatch.setattr(scoring, "score", score)
    monkeypatch.setattr(scoring, "wait_for_resources", lambda bundles, *_, **__: wanted.extend(bundles))
    config = make_config(tmp_path, seeds=[1]).model_copy(update={"baselines": ()})
    compute = config.compute.model_copy(update={"use_gpu": True, "precision": "bf16"})
    cpu_training = config.compute.model_copy(update={"precision": "bf16"})
    pipeline = MetaKDPipeline(config.model_copy(update={"compute": cpu_training}), terminal=Terminal(), runner_class=Runner)
    pipeline.runner.compute = compute
    pipeline.run()
    assert made == [(Embedder, "bf16", True), (AnswerScorer, "bf16", True), (AnswerScorer, "fp32", True)], (
        "report rows are scored in fp32"
    )
    assert wanted == [{"CPU": 1.0, "GPU": 1.0}] * 3


def test_score_stages_scores_unfinished_stages_together(tmp_path: Path) -> None:
    """A finished stage is not scored again; a result made of the scores is written before its stage is finished."""
    calls: list[list[str]] = []
    order: list[tuple[str, bool]] = []

    class Runner(StageRunner):
        def score(self, jobs: Sequence[ScoreJob], title: str, *_: Any, **__: Any) -> list[SideTable]:
            calls.append([job.output for job in jobs])
            return []

    made = Runner(
        name="run",
        folder=str(tmp_path),
        cache="",
        compute=ComputeConfig(cpus_per_worker=1),
        stages=("logits",),
        terminal=Terminal(),
    )
    stages = [made.stage(f"logits/{name}", "rows") for name in "abc"]
    stages[1].begin()
    stages[1].finish()
    jobs = {stage: [ScoreJob("model", "rows", stage.name)] for stage in stages}
    for _ in range(2):
        made.score_stages(jobs, "rows", convert=lambda stage: order.append((stage.name, stage.is_done())))
    assert calls == [["logits/a", "logits/c"]]
    assert order == [("logits/a", False), ("logits/c", False)]
    with pytest.raises(ConfigError, match="needs the stage evaluation, which is not finished"):
        made.score_stages({made.stage("evaluation"): []}, "rows")


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError])
def test_workers_that_were_lent_are_not_waited_for_once_scoring_has_ended_in_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """An interrupt waited 45 s for the part that each of them scored."""
    made = runner(tmp_path, "logits")
    asked: list[str] = []

    class Groups:
        def release_for(self, **_: Any) -> None:
            asked.append("release")

        def leave_cpus(self, cpus: int) -> None:
            asked.append(f"leave {cpus}")

        def waiting_workers(self) -> list[Any]:
            return []

        def cut_short(self) -> None:
            asked.append("cut short")

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(made, "_groups", Groups())
    monkeypatch.setattr(made, "start_ray", lambda: None)
    monkeypatch.setattr("raykd.run.stages.score_models", fail)
    monkeypatch.setattr("raykd.run.stages.uses_gpu", lambda _: False)
    with pytest.raises(error):
        made.score([], "rows")
    assert asked == ["release", "leave 1", "cut short"]


class GroupsHere:
    """Groups that only record what they are asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str], Placement]] = []

    def run(self, tasks: Sequence[TrainTask], placement: Placement) -> None:
        self.calls.append(("run", [one.name for one in tasks], placement))

    def train_beside(self, tasks: Sequence[TrainTask], placement: Placement) -> None:
        self.calls.append(("beside", [one.name for one in tasks], placement))


def test_a_ray_that_ends_in_the_background_has_ended_before_another_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    report_is_written = threading.Event()

    def stop() -> None:
        assert report_is_written.wait(10)
        calls.append("stop")

    monkeypatch.setattr(stages, "start_ray", lambda **_: calls.append("start") or True)
    monkeypatch.setattr(stages, "stop_ray", stop)
    monkeypatch.setattr(stages, "require_shared", lambda _: None)
    one = runner(tmp_path, "report")
    one.start_ray()
    one.end_ray()
    assert calls == ["start"], "the report does not wait"
    report_is_written.set()
    one.start_ray()
    assert calls == ["start", "stop", "start"]
    one.close()
    one.close()
    assert calls == ["start", "stop", "start", "stop"]


def test_a_ray_of_the_caller_is_left_to_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(stages, "start_ray", lambda **_: False)
    monkeypatch.setattr(stages, "stop_ray", lambda: stopped.append("stop"))
    monkeypatch.setattr(stages, "require_shared", lambda _: None)
    one = runner(tmp_path, "report")
    one.start_ray()
    one.end_ray()
    one.close()
    assert not stopped


@pytest.mark.parametrize("wanted", [True, False])
def test_the_libraries_of_a_report_are_imported_while_the_last_stage_trains(
    wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[str] = []
    monkeypatch.setattr(stages, "import_libraries", lambda: imported.append(trained[-1]))
    trained: list[str] = []
    one = StageRunner(
        name="run", folder=str(tmp_path), cache="", compute=ComputeConfig(), terminal=Terminal(),
        stages=("teacher", "students", *["report"] * wanted), trainings={"teacher": 1, "students": 1},
    )  # fmt: skip
    monkeypatch.setattr(one, "start_ray", lambda: None)
    groups: Any = GroupsHere()
    one._groups = groups
    for name in ("teacher", "students"):
        trained.append(name)
        one.train(name, [task(str(tmp_path / name), name)])
        for thread in threading.enumerate():
            if thread.name == "raykd-report-imports":
                thread.join()
    assert imported == ["students"] * wanted


@pytest.mark.parametrize("placement", ["auto", "wide"])
def test_the_placement_follows_from_all_trainings_of_a_stage(
    placement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished training changes nothing for the others; nothing trains beside where all workers are one group."""
    monkeypatch.setattr(stages, "placement_of", lambda compute, count: place(compute, count, AvailableResources(2)))
    said: list[str] = []
    one = StageRunner(
        name="run", folder=str(tmp_path), cache="", compute=ComputeConfig(num_workers=2, placement=placement),
        terminal=Terminal(), stages=("teacher", "students"), trainings={"teacher": 1, "students": 3},
    )  # fmt: skip
    monkeypatch.setattr(one, "start_ray", lambda: None)
    monkeypatch.setattr(one.terminal, "print_line", said.append)
    groups: Any = GroupsHere()
    one._groups = groups
    teacher, *students = [task(str(tmp_path / name), name) for name in ("teacher", "a", "b", "c")]
    students[0].mark_done()
    one.train_beside("students", students[:2])
    one.train("teacher", [teacher])
    if placement == "auto":
        students[1].mark_done()  # beside the teacher
    one.train("students", students)
    one.train("students", students)
    wide, narrow = Placement(1, 2, 1), Placement(2, 1, 1)
    each = narrow if placement == "auto" else wide
    beside = [("beside", ["b"], narrow)] if placement == "auto" else []
    assert groups.calls == [*beside, ("run", ["teacher"], wide), ("run", ["c"] if beside else ["b", "c"], each)]
    assert said == ["1 of 3 trainings: finished before, skipped"], "not what has trained beside in this run"


def task(folder: str, name: str) -> TrainTask:
    return TrainTask(
        name=name, folder=folder, model="m", labels=("a", "b"), train="rows", validation=None, objective=FineTuneConfig(),
        training=TrainingConfig(), seed=1, engine=TorchEngineConfig(), precision="fp32", key=name,
    )  # fmt: skip
