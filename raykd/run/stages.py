"""Stages of a run on the driver: finished ones are skipped, the others tokenise, train and score on Ray.

Job kinds (:mod:`raykd.distill`, :mod:`raykd.metakd`) hold a :class:`StageRunner` and decide what to make in which order.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from raykd.cluster import (
    DATA_CPUS,
    local_training_cpus,
    placement_of,
    require_shared,
    training_resources,
    uses_gpu,
    with_worker_cpus,
)
from raykd.config import ComputeConfig
from raykd.config.section import Section
from raykd.data import storage
from raykd.data.folder_lock import FolderLock, folder_lock
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ConfigError, DataError
from raykd.fork_server.running_server import stop_fork_server
from raykd.placement import Placement, goes_side_by_side
from raykd.predict import ScoreJob
from raykd.predict.answer_scorer import AnswerScorer
from raykd.predict.scorer import Scorer
from raykd.progress import Terminal
from raykd.report.libraries import import_libraries
from raykd.run.build_objective import BuildObjective, build_objective
from raykd.run.parallel_groups import ParallelGroups
from raykd.run.scoring import ScoringActors, report_compute, score_models
from raykd.run.task import TrainTask, key_of
from raykd.run.worker_group import WorkerGroup
from raykd.session import prepare_ray, start_ray, stop_ray

STALE_SECONDS = 30.0
"""Wait for workers whose number may change: Ray lists the nodes every 20 s, so a longer wait is for a node that has left. The
number is then chosen anew."""


@dataclass(frozen=True)
class Stage:
    """A step of a run whose results lie in one folder, finished when the folder's ``stage.json`` has its key."""

    name: str
    folder: str
    key: str
    """Hash of configuration, inputs and versions."""

    @property
    def manifest(self) -> str:
        """The file that is written last."""
        return storage.join(self.folder, "stage.json")

    def is_done(self) -> bool:
        """True when the folder holds the finished result of this very stage."""
        return storage.exists(self.manifest) and bool(storage.read_json(self.manifest)["key"] == self.key)

    def begin(self) -> None:
        """Remove an older result's manifest, so that nothing half-made looks complete."""
        storage.remove(self.manifest)

    def results(self) -> dict[str, Any]:
        """Values that :meth:`finish` was given. Raises DataError when the folder holds another result."""
        content: dict[str, Any] = storage.read_json(self.manifest)
        if content["key"] != self.key:
            raise DataError(f"{self.folder} holds the result of other inputs or settings; run the stage {self.name} again")
        return content

    def finish(self, **results: Any) -> None:
        """Mark the result as complete."""
        storage.write_json(self.manifest, {"name": self.name, "key": self.key, **results})


class StageRunner:
    """Runs the stages of any job kind: Ray, tokenised sets, worker groups, scoring, skipping of finished stages."""

    def __init__(
        self,
        *,
        name: str,
        folder: str,
        cache: str,
        compute: ComputeConfig,
        stages: Sequence[str],
        terminal: Terminal,
        build_objective: BuildObjective = build_objective,
        trainings: Mapping[str, int] | None = None,
    ) -> None:
        """Prepare a run. ``stages`` are those that may be made; ``trainings`` counts the trainings of each stage.

        The counts decide how many train side by side, finished ones included, so that a run that continues trains as before.
        """
        self.name, self.folder, self.cache = name, folder, cache
        self.compute, self.terminal = with_worker_cpus(compute), terminal
        terminal.shows_idle_cpus = compute.cpus_per_worker is not None
        self._stages = tuple(stages)
        self._build_objective = build_objective
        self._trainings = dict(trainings or {})
        self._scoring = ScoringActors(self.compute, stages)
        self._groups = ParallelGroups(
            self._new_group, self._scoring.listening(terminal.record), lambda: training_resources(self.compute)
        )
        self._tokenised: dict[PrepareSpec, TokenisedSet] = {}
        self._requested: set[str] = set()
        self._trained: set[str] = set()
        self._queued: set[str] = set()
        self._prepared_ray = self._started_ray = self._checked_nodes = False
        self._ending: Future[None] | None = None
        self._lock: FolderLock | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run's folder inside the block. Raises ResourceError naming the command that writes to it."""
        with folder_lock(self.folder) as self._lock:
            yield
        self._lock = None

    def prepare_ray(self) -> None:
        """Start the fork server of a local Ray's workers, before the checks of a job."""
        self._prepared_ray |= prepare_ray()

    def start_ray(self) -> None:
        """Connect to Ray, or start it, unless it is up. A local Ray gets the resources of every group of workers.

        Raises ResourceError when the cluster cannot be reached, or some of its nodes do not see the run's folder.
        """
        self._wait_for_end()
        compute = self.compute
        training = local_training_cpus(compute, sum(self._trainings.values()))
        started = start_ray(
            num_cpus=training + compute.prediction_actors * compute.worker_cpus + DATA_CPUS,
            start_timeout_s=compute.start_timeout_s,
            workers_timeout_s=min(compute.start_timeout_s, STALE_SECONDS) if compute.elastic else None,
            collective_timeout_s=compute.collective_timeout_s,
        )
        self._started_ray |= started
        if not self._checked_nodes:  # also of a Ray that a caller from Python has started
            require_shared(self.folder)
            self._checked_nodes = True

    def start_workers(self, stage: str) -> None:
        """Start workers for a training of ``stage`` during preparation, since their imports take long.

        An elastic group would take the CPUs that preparation needs: it starts with the first training.
        """
        if not self.compute.elastic:
            self._groups.start(self._placement(stage))

    def release_workers(self) -> None:
        """End all workers and scoring actors; a later training or scoring starts others."""
        self._groups.close()
        self._scoring.close()

    def end_ray(self) -> None:
        """End all workers, and Ray, if it was started here; its processes end while this one goes on."""
        self.release_workers()
        if self._started_ray:
            self._started_ray = False
            thread = ThreadPoolExecutor(1, thread_name_prefix="raykd-end-of-ray")
            self._ending = thread.submit(stop_ray)
            thread.shutdown(wait=False)

    def close(self) -> None:
        """End all workers, and Ray, if it was started here."""
        self.end_ray()
        self._wait_for_end()
        if self._prepared_ray:
            stop_fork_server()

    def _wait_for_end(self) -> None:
        if self._ending is not None:
            ending, self._ending = self._ending, None
            ending.result()

    def write_config(self, config: Section) -> None:
        """Write ``experiment.json``: the resolved configuration."""
        storage.write_json(storage.join(self.folder, "experiment.json"), config.model_dump(mode="json"))

    def is_wanted(self, stage: str) -> bool:
        """True when a stage may be made."""
        return stage in self._stages

    def stage(self, name: str, *inputs: object) -> Stage:
        """A stage in the run's subfolder ``name``; its key hashes the name and the inputs."""
        return Stage(name, storage.join(self.folder, name), key_of(name, *inputs))

    def require(self, stage: str) -> None:
        """Raise ConfigError when a stage has to be made but was not asked for. Names of parts follow a slash."""
        name = stage.partition("/")[0]
        if not self.is_wanted(name):
            raise ConfigError(f"stage {' '.join(self._stages)} needs the stage {name}, which is not finished; run that first")

    def skip_or_begin(self, stage: Stage) -> bool:
        """Return True for a finished stage; begin another. Raises ConfigError when it was not asked for."""
        self._check_lock()
        if stage.is_done():
            self.terminal.print_line(f"{stage.name}: finished before, skipped")
            return True
        self.require(stage.name)
        stage.begin()
        return False

    def tokenise(self, spec: PrepareSpec, label: str) -> TokenisedSet:
        """Rows as a model's tokens, made once; ``label`` names them on the terminal. Raises DataError, ModelError."""
        if spec not in self._tokenised:
            bar = f"preparing {label} rows"
            self._groups.leave_cpus(DATA_CPUS)
            made = prepare(spec, self.cache, progress=lambda done, total: self.terminal.advance(bar, done, total))
            if made.path not in {other.path for other in self._tokenised.values()}:  # models may share a tokenizer
                rejected = f", {made.rejected} rejected" if made.rejected else ""
                left_out = f", {made.excluded} left out with a text of another split" if made.excluded else ""
                self.terminal.print_line(f"{label}: {made.num_rows} rows, at most {made.max_length} tokens{rejected}{left_out}")
            self._tokenised[spec] = made
        return self._tokenised[spec]

    def train(self, stage: str, tasks: Sequence[TrainTask]) -> None:
        """Train what is not finished, side by side where the job's placement says so.

        Raises the error of the first task that fails, ConfigError when the stage was not asked for.
        """
        self._check_lock()
        new = [task for task in tasks if task.folder not in self._requested]
        self._requested.update(task.folder for task in new)
        todo = [task for task in tasks if task.folder not in self._trained and not task.is_done()]
        done = [task for task in new if task not in todo and task.folder not in self._queued]
        if done:
            trainings = done[0].name if len(new) == 1 else f"{len(done)} of {len(new)} trainings"
            self.terminal.print_line(f"{trainings}: finished before, skipped")
        if todo:
            self.require(stage)
            self._run_tasks(stage, todo)
        self._trained.update(task.folder for task in tasks)

    def train_beside(self, stage: str, tasks: Sequence[TrainTask]) -> None:
        """Queue trainings that need no result of another stage: they use the CPUs or GPUs that :meth:`train` leaves free.

        A later :meth:`train` waits for them. Does nothing where trainings never run side by side.
        """
        todo = [task for task in tasks if task.folder not in self._trained and not task.is_done()]
        if todo and self.is_wanted(stage) and goes_side_by_side(self.compute):
            self.start_ray()
            self._groups.train_beside(todo, self._placement(stage))
            self._queued.update(task.folder for task in todo)

    def score(
        self, jobs: Sequence[ScoreJob], title: str, scorer: type[Scorer] = AnswerScorer, *, for_report: bool = False
    ) -> list[SideTable]:
        """Score rows with models on Ray; ``title`` names the progress bar. Rows ``for_report`` are scored in fp32."""
        self._check_lock()
        self.start_ray()
        self._groups.release_for(cpus=self.compute.worker_cpus, gpu=uses_gpu(self.compute))
        self._groups.leave_cpus(self.compute.worker_cpus)
        compute = report_compute(self.compute) if for_report else self.compute
        progress, kept = partial(self.terminal.advance, title), self._scoring.for_scoring(self._groups.waiting_workers())
        try:
            return score_models(jobs, compute, progress=progress, scorer=scorer, kept=kept)
        except BaseException:  # an interrupt too
            self._groups.cut_short()
            raise

    def score_stages(
        self,
        scored: Mapping[Stage, Sequence[ScoreJob]],
        title: str,
        *,
        for_report: bool = False,
        convert: Callable[[Stage], None] | None = None,
    ) -> None:
        """Score the rows of all stages that are not finished, in one go; ``convert`` makes a stage's result of its scores.

        Raises ConfigError when a stage has to be made but was not asked for.
        """
        todo = {stage: jobs for stage, jobs in scored.items() if not stage.is_done()}
        for stage in todo:
            self.require(stage.name)
        for stage in todo:
            stage.begin()
        if todo:
            self.score([job for jobs in todo.values() for job in jobs], title, for_report=for_report)
        for stage in todo:
            if convert is not None:
                convert(stage)
            stage.finish()

    def _check_lock(self) -> None:
        if self._lock is not None:
            self._lock.check()

    def _run_tasks(self, stage: str, tasks: Sequence[TrainTask]) -> None:
        self.start_ray()
        placement = self._placement(stage)
        if placement.parallel > 1 and len(tasks) > 1:
            self.terminal.print_line(f"{stage}: {len(tasks)} trainings, {placement}")
        wanted = min(len(tasks), self.compute.parallel_tasks or 1) if goes_side_by_side(self.compute) else 1
        if placement.parallel < wanted:
            self.terminal.print_line(
                f"{stage}: {placement.parallel} at a time, not compute.parallel_tasks = {self.compute.parallel_tasks}: Ray has "
                "no CPUs or GPUs for more"
            )
        if self.is_wanted("report") and [stage] == [*self._trainings][-1:]:  # the driver waits now, and would import later
            threading.Thread(target=import_libraries, name="raykd-report-imports", daemon=True).start()
        workers = min(placement.parallel, len(tasks)) * placement.max_workers
        self._scoring.expect((task.name for task in tasks), workers=0 if self.compute.elastic else workers)
        self._groups.run(tasks, placement)

    def _placement(self, stage: str) -> Placement:
        return placement_of(self.compute, self._trainings.get(stage, 1))

    def _new_group(self, placement: Placement) -> WorkerGroup:
        return WorkerGroup(
            placement.compute(self.compute, use_gpu=uses_gpu(self.compute)),
            storage=storage.join(self.folder, "ray"),
            name=self.name,
            build_objective=self._build_objective,
        )
