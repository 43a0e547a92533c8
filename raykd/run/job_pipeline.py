"""The order of a job on the driver: checks, models probed while Ray starts, the job's own stages, the end of the workers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from raykd.fork_server.running_server import is_running
from raykd.run.stages import StageRunner
from raykd.session import call_in_worker

Result_co = TypeVar("Result_co", covariant=True)


class JobPipeline(Protocol[Result_co]):
    """The stages of one job; holds a :class:`StageRunner`."""

    @property
    def runner(self) -> StageRunner:
        """Runs its stages."""

    def check(self, *, probe: bool = True) -> None:
        """Find errors in models and files before anything starts; runs no model without ``probe``. Raises RaykdError."""

    def models_probe(self) -> Callable[[], None]:
        """A function that runs the models on a few rows and raises ModelError; called in a thread or another process."""

    def will_train(self) -> bool:
        """True when some training is not finished."""

    def start_workers(self) -> None:
        """Start workers during the preparation, where that saves time."""

    def tokenise_all(self) -> None:
        """Tokenise the rows of all stages asked for: errors in rows that are read late are found early."""

    def run(self) -> Result_co:
        """Make all stages asked for."""


def run_pipeline(pipeline: JobPipeline[Result_co]) -> Result_co:
    """Check a job, run its stages, and end workers and Ray. Models are probed while Ray starts. Raises RaykdError."""
    runner, terminal = pipeline.runner, pipeline.runner.terminal
    try:
        with runner.locked(), terminal.bars():
            if pipeline.will_train():
                runner.prepare_ray()
            terminal.wait_for("checking files and models")
            pipeline.check(probe=False)
            terminal.arrived()
            if pipeline.will_train():
                terminal.wait_for("starting Ray and the workers", log=True)
                _start(pipeline)
                pipeline.tokenise_all()
            return pipeline.run()
    finally:
        runner.close()


def _start(pipeline: JobPipeline[Any]) -> None:
    """Start Ray and the workers, and probe the models meanwhile. Raises ModelError."""
    runner, probe = pipeline.runner, pipeline.models_probe()
    if is_running():  # a worker has made the imports that models need; this process need not make them
        runner.start_ray()
        wait = call_in_worker(probe)
        pipeline.start_workers()
        wait()
        return
    with ThreadPoolExecutor(1, thread_name_prefix="raykd-probe") as thread:  # Ray needs the main thread
        probing = thread.submit(probe)
        runner.start_ray()
        pipeline.start_workers()
        probing.result()
