"""Start and stop of Ray: local, or the cluster that this command runs on."""

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from raykd.data.watchdog import limit_waits
from raykd.errors import ResourceError

log = logging.getLogger(__name__)

_ANSWER_S = 10.0
_REASON_CHARS = 400
_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
"""Maximum bytes of the path of a Unix socket."""
_SOCKET_IN_FOLDER = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""Ray's longest socket, below the folder for temporary files."""
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
_LOCAL_VARIABLES = {
    "RAY_enable_metrics_collection": "0",
    "RAY_worker_niceness": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # an actor that asks whether a cloud provider reclaims this machine
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "86400",  # a worker that scores rows answers Ray Train between two parts of them
}
"""Settings that a local Ray and its processes start with unless they are set otherwise."""
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
    runtime_env: dict[str, object] | None = None,
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
    if address == "local":
        local = {
            "num_cpus": num_cpus,
            "object_store_memory": object_store_bytes,
            "include_dashboard": False,  # a dozen processes that nothing of raykd's asks
            "_temp_dir": _short_folder(),
        }
        _provide_token()
    else:
        _require_answer(address)
    _init_ray(address, local, runtime_env)
    _Connection.is_local = bool(local)
    _quiet_ray()
    if local:
        _start_data_actors()
    limit_waits(start_timeout_s)
    log.info("Ray is up: %s", "local" if address == "local" else address)
    return True


def _init_ray(address: str, local: Mapping[str, Any], runtime_env: dict[str, object] | None) -> None:
    """Call ``ray.init`` without its output; ``local`` has the settings of a local Ray. Raises ResourceError."""
    import ray
    from ray.exceptions import RayError

    on_sigterm = signal.getsignal(signal.SIGTERM)
    machine = _for_this_machine(local["_temp_dir"]) if local else contextlib.nullcontext()
    with warnings.catch_warnings(), _silent_stderr(), machine, _children_without_hang_up():
        warnings.simplefilter("ignore")  # about versions and address files; nothing a user can act on
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=runtime_env, **local)
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


def _start_data_actors() -> None:
    """Start the two actors of Ray Data that the workers' start and the first rows wait for, while nothing else does.

    They find processes that a new Ray has started anyway; from a training worker each would need one more.
    """
    from ray.data._internal.cluster_autoscaler import get_or_create_autoscaling_coordinator
    from ray.data._internal.stats import get_or_create_stats_actor

    get_or_create_autoscaling_coordinator()
    get_or_create_stats_actor()


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


def _short_folder() -> str | None:
    """A folder for Ray's sockets when the path of its default is too long; None keeps Ray's default.

    Raises ResourceError when ``RAY_TMPDIR`` itself is too long, or no short folder can be written.
    """
    name = "RAY_TMPDIR" if os.environ.get("RAY_TMPDIR") else "TMPDIR"
    given = os.environ.get(name) or "/tmp"
    longest = _SOCKET_BYTES - len(_SOCKET_IN_FOLDER)
    if len(os.fsencode(os.path.abspath(given))) <= longest:
        return None if os.path.isabs(given) else os.path.join(os.path.abspath(given), "ray")
    short = next((path for path in ("/tmp", "/var/tmp", "/dev/shm") if os.access(path, os.W_OK | os.X_OK)), None)
    if name == "RAY_TMPDIR" or short is None:
        raise ResourceError(
            f"Ray does not start on this machine: {name} = {given} is longer than {longest} bytes, so the paths of its "
            f"sockets are too long; set RAY_TMPDIR to a folder with a shorter path"
        )
    log.info("Ray's files go to %s/ray: the path of TMPDIR is too long for its sockets", short)
    return os.path.join(short, "ray")


def _provide_token() -> None:
    """Set a token for this process and Ray when there is none and the home folder, where Ray stores it, is read-only."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    folder = os.path.join(os.path.expanduser("~"), ".ray")
    if os.access(os.path.join(folder, "auth_token"), os.R_OK):
        return
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _keep_sigterm(handler: object) -> None:
    """Restore the signal handlers: Ray's own kill the workers before they can write a checkpoint."""
    if threading.current_thread() is threading.main_thread() and callable(handler):
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _children_without_hang_up() -> Iterator[None]:
    """Block SIGHUP in processes that start in the block; one for this process is delivered after it.

    A terminal that closes sends the signal to all processes that were started from it, and a worker without a handler would die
    before its checkpoint.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _for_this_machine(folder: str | None) -> Iterator[None]:
    """Let a Ray that starts in the block, and gloo in its workers, listen on 127.0.0.1 only; no metrics, no lower priority.

    On Linux they would listen on every address: Ray 2.60 does this for Windows and macOS only, and reads its variable once, at
    import. Metrics cost a port and 6 MB per minute in Ray Data's actor; the variable set to 1 turns them on. Ray runs workers
    at niceness 15, where any other program of the machine takes their processors; ``RAY_worker_niceness`` sets another number.
    Its agent tries one port for 3.4 s where another Ray has it, so it gets a free one.

    ``folder`` is that of Ray's files, None for its default. Ray's processes open sockets in TMPDIR too: where that path is too
    long they fail, and Ray waits a minute for them.
    """
    from ray._private import parameter, ray_constants

    given = {name: value for name, value in _LOCAL_VARIABLES.items() if name not in os.environ}
    if "GLOO_SOCKET_IFNAME" not in os.environ:
        given["GLOO_SOCKET_IFNAME"] = next(name for _, name in socket.if_nameindex() if name in ("lo", "lo0"))
    if folder is not None:
        given["TMPDIR"] = os.path.dirname(folder)
    before = {name: os.environ.get(name) for name in given}
    clusters, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    parameters, parameter.RayParams = parameter.RayParams, partial(parameter.RayParams, dashboard_agent_listen_port=0)
    os.environ.update(given)
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters
        parameter.RayParams = parameters
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


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


def stop_ray() -> None:
    """Disconnect, and stop a local Ray."""
    import ray

    _Connection.is_local = False
    with contextlib.suppress(ConnectionError):
        ray.shutdown()


def free_cpus() -> float:
    """CPUs that are free at the moment."""
    import ray

    return float(ray.available_resources().get("CPU", 0.0))
