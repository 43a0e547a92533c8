"""Start and stop of Ray: local, or the cluster that this command runs on."""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from raykd.data.watchdog import limit_waits
from raykd.errors import ResourceError
from raykd.fork_server.running_server import is_running, prepare_fork_server, stop_fork_server, use_fork_server
from raykd.local_ray import (
    children_without_hang_up,
    for_this_machine,
    local_cores,
    local_variables,
    provide_token,
    short_folder,
    start_data_actors,
    starts_local_ray,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

_ANSWER_S = 10.0
_REASON_CHARS = 400
_LOCAL_DEFAULT = (
    "its log files are in ray/session_latest/logs of the folder for temporary files; or set RAY_ADDRESS to a cluster's"
)
_LOCAL_ADVICE = {
    "permission denied|read-only|not a directory|operation not permitted": "make that path writable, or set RAY_TMPDIR to a "
    "folder that is",
    "no space left": "free space there, or set RAY_TMPDIR to a folder with space",
    "af_unix|too long": "set RAY_TMPDIR to a folder with a shorter path",
    "token|authentication": "set RAY_AUTH_TOKEN to a token of your choice",
    "object_store_memory|object store|/dev/shm": "free memory on this machine",
    "address already in use": "end the other Ray on this machine (ray stop), or set RAY_ADDRESS to it",
    "timed out|timeout|took too long|in time|within": "end what else keeps the machine busy, or set RAY_ADDRESS to a cluster's",
}
"""Advice for a local Ray that does not start, by words of its reason."""
_CLUSTER_DEFAULT = "check RAY_ADDRESS, or unset it to start a local Ray"
_CLUSTER_ADVICE = {
    "version": "install the versions of the cluster here, or unset RAY_ADDRESS to start a local Ray",
    "token|authentication|unauthenticated": "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's token",
    "refused|timed out|unreachable|no route|name or service": "check RAY_ADDRESS and that the cluster is up, or unset it to "
    "start a local Ray",
}


class _Connection:
    """State of this process's connection."""

    is_local = False
    """True while a Ray runs that :func:`start_ray` has started on this machine."""


def prepare_ray() -> bool:
    """Start the fork server of a local Ray's workers before :func:`start_ray`; :func:`stop_ray` ends it.

    False, and nothing happens, where Ray runs, or the job runs on a cluster.
    """
    return starts_local_ray() and prepare_fork_server()


def is_local_ray() -> bool:
    """True while a Ray runs that :func:`start_ray` has started on this machine."""
    return _Connection.is_local


def start_ray(
    *,
    num_cpus: int | None = None,
    object_store_bytes: int | None = None,
    start_timeout_s: float = 600,
    workers_timeout_s: float | None = None,
    collective_timeout_s: float = 600,
) -> bool:
    """Connect to the cluster in ``RAY_ADDRESS`` (set under ``ray job submit``), else start a local Ray.

    Its ``num_cpus`` logical CPUs only limit concurrency: a laptop with two cores can run one worker, one data task and one
    actor. ``object_store_bytes`` limits its shared memory (None: Ray's default). It has no dashboard. Worker logs stay in files
    under Ray's session folder. Tasks wait for CPUs ``start_timeout_s`` at most, an attempt to start training workers
    ``workers_timeout_s`` (None: the same). Returns True when this call connected, False when Ray was running. Raises
    ResourceError when Ray does not start or the cluster cannot be reached.
    """
    _set_variables(workers_timeout_s or start_timeout_s, collective_timeout_s)
    import ray

    if ray.is_initialized():  # by a caller from Python, or for another part of this command
        limit_waits(start_timeout_s)
        return False
    address = os.environ.get("RAY_ADDRESS") or "local"
    local: dict[str, Any] = {}
    variables: dict[str, str] = {}
    if address == "local":
        local = {
            "num_cpus": num_cpus,
            "object_store_memory": object_store_bytes,
            "include_dashboard": False,  # a dozen processes that nothing of raykd's asks
            "_temp_dir": short_folder(),
        }
        provide_token()
        variables = local_variables(local["_temp_dir"]) | use_fork_server()
    else:
        _require_answer(address)
    try:
        _init_ray(address, local, variables)
        _Connection.is_local = bool(local)
        _quiet_ray()
        if local:
            start_data_actors()
    except BaseException:
        stop_fork_server()
        raise
    limit_waits(start_timeout_s)
    log.info("Ray is up: %s", "local" if address == "local" else address)
    return True


def _init_ray(address: str, local: Mapping[str, Any], variables: Mapping[str, str]) -> None:
    """Call ``ray.init`` without its output; ``local`` has the settings of a local Ray, ``variables`` those of its processes.

    Raises ResourceError.
    """
    import ray
    from ray.exceptions import RayError

    on_sigterm = signal.getsignal(signal.SIGTERM)
    machine = for_this_machine(variables) if local else contextlib.nullcontext()
    with warnings.catch_warnings(), _silent_stderr(), machine, children_without_hang_up():
        warnings.simplefilter("ignore")  # about versions and address files; nothing a user can act on
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
        except Exception as error:  # a process of Ray's that takes too long to start raises Exception itself
            if not local and not isinstance(error, OSError | ValueError | RuntimeError | RayError):
                raise
            raise ResourceError(_no_ray(address, error)) from error
        finally:
            _keep_sigterm(on_sigterm)


def _set_variables(workers_timeout_s: float, collective_timeout_s: float) -> None:
    """Set what Ray reads from the environment, here and in its processes. What is set already stays, but for the limits."""
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(workers_timeout_s)
    os.environ["RAY_TRAIN_COLLECTIVE_TIMEOUT_S"] = str(collective_timeout_s)
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # relative paths of a job file mean the same on the driver and on workers
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # or Ray's C++ side writes its errors into a user's terminal
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "worker processes have been started")  # on a busy laptop; it passes
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the behaviour to come; silences its announcement
    os.environ.setdefault(
        "RAY_preload_python_modules", "ray.data,raykd.data.step_stream"
    )  # torch too would delay every process


def _require_answer(address: str) -> None:
    """Raise ResourceError when nothing listens at ``host:port``: Ray itself would retry for twelve minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise ResourceError(_no_ray(address, error)) from error


def _no_ray(address: str, error: Exception) -> str:
    reason = (" ".join(str(error).split()) or type(error).__name__)[:_REASON_CHARS].rstrip(".")
    advice = _LOCAL_ADVICE if address == "local" else _CLUSTER_ADVICE
    wanted = next((text for words, text in advice.items() if any(word in reason.lower() for word in words.split("|"))), "")
    if address == "local":
        return f"Ray does not start on this machine: {reason}; {wanted or _LOCAL_DEFAULT}"
    return f"cannot connect to Ray at {address}: {reason}; {wanted or _CLUSTER_DEFAULT}"


def _keep_sigterm(handler: object) -> None:
    """Restore the signal handlers: Ray's own kill the workers before they can write a checkpoint."""
    if threading.current_thread() is threading.main_thread() and callable(handler):
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard output to file descriptor 2, where Ray's C++ code logs its own settings. Errors are exceptions."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _quiet_ray() -> None:
    """Keep Ray's own messages out of the terminal.

    Its listener prints "a worker died" at any later time, also below the last line of a command. raykd reports such events
    itself; the text stays in Ray's log files.
    """
    from ray._private import worker
    from ray.data import DataContext

    worker._worker_logs_enabled = False  # read by everything that prints for other processes; log_to_driver covers one of them
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)


def call_in_worker(function: Callable[[], T]) -> Callable[[], T]:
    """Call a function in a worker process of this machine, with all its cores, that ends afterwards.

    Returns a function that waits for the call and raises its RaykdError, or ResourceError where the process was lost.
    """
    import ray
    from ray.exceptions import OutOfMemoryError, RayTaskError, WorkerCrashedError

    called = ray.remote(num_cpus=0, max_retries=0, max_calls=1)(_call_with_all_cores).remote(function)

    def wait() -> T:
        try:
            result: T = ray.get(called)
        except RayTaskError as error:
            raise error.cause from error
        except (WorkerCrashedError, OutOfMemoryError) as error:
            raise ResourceError(
                "a process that ran the models on a few rows, to check or time them, was lost, mostly for want of memory; free "
                f"memory, or take a smaller model ({type(error).__name__})"
            ) from error
        return result

    return wait


def _call_with_all_cores(function: Callable[[], T]) -> T:
    import torch

    torch.set_num_threads(local_cores())
    return function()


def call_on_models(function: Callable[[], T]) -> T:
    """Call a function that loads models: in a worker that has made their imports where there is one, else in this process.

    Raises its RaykdError, ResourceError where the worker was lost.
    """
    return call_in_worker(function)() if is_local_ray() and is_running() else function()


def stop_ray() -> None:
    """Disconnect, and stop a local Ray."""
    import ray

    _Connection.is_local = False
    with contextlib.suppress(ConnectionError):
        ray.shutdown()
    stop_fork_server()


def free_cpus() -> float:
    """CPUs that are free at the moment."""
    import ray

    return float(ray.available_resources().get("CPU", 0.0))
