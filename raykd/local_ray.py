"""Start of a Ray of this machine alone: folder, token, variables, and the processes that it needs."""

import contextlib
import glob
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from raykd.errors import ResourceError
from raykd.fork_server import start_worker

log = logging.getLogger(__name__)

_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
"""Maximum bytes of the path of a Unix socket."""
_SOCKET_IN_FOLDER = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""Ray's longest socket, below the folder for temporary files."""
_QUOTA_FILES = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
"""Files with a container's microseconds of processor time and the period that they are for."""
_GPU_FILES = "/dev/nvidia[0-9]*"
_VARIABLES = {
    "RAY_enable_metrics_collection": "0",
    "RAY_worker_niceness": "0",
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",  # as Ray Train sets it for its actors
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # an actor that asks whether a cloud provider reclaims this machine
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "86400",  # a worker that scores rows answers Ray Train between two parts of them
}
"""Settings that a local Ray and its processes start with unless they are set otherwise."""


def local_cores() -> int:
    """Cores of this machine that this process may use, no more than a container's limit of processor time allows."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(_cpu_quota())))


def _cpu_quota() -> float:
    """CPUs by the limit of the control group, version 2 or 1; the largest integer without a limit."""
    for files in _QUOTA_FILES:
        with contextlib.suppress(OSError, ValueError):
            words = " ".join(Path(file).read_text(encoding="ascii") for file in files).split()
            quota, period = (float(word) for word in words)  # "max" is no number, -1 no limit
            if quota > 0:
                return quota / period
    return sys.maxsize


def has_gpu() -> bool:
    """True where this machine shows an NVIDIA GPU to its processes, without a library that would start its driver."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") != "" and bool(glob.glob(_GPU_FILES))


def starts_local_ray() -> bool:
    """True where a command would start a Ray on its own machine: none runs, and no cluster is named."""
    ray: Any = sys.modules.get("ray")
    return not os.environ.get("RAY_ADDRESS") and (ray is None or not ray.is_initialized())


def short_folder() -> str | None:
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


def provide_token() -> None:
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


def local_variables(folder: str | None) -> dict[str, str]:
    """Variables of a local Ray's processes that are not set yet: gloo listens on 127.0.0.1, no metrics, no lower priority.

    Metrics cost a port and 6 MB per minute in Ray Data's actor; the variable set to 1 turns them on. Ray runs workers at
    niceness 15, where any other program of the machine takes their processors; ``RAY_worker_niceness`` sets another number.

    ``folder`` is that of Ray's files, None for its default. Ray's processes open sockets in TMPDIR too: where that path is too
    long they fail, and Ray waits a minute for them.
    """
    variables = {name: value for name, value in _VARIABLES.items() if name not in os.environ}
    if "GLOO_SOCKET_IFNAME" not in os.environ:
        variables["GLOO_SOCKET_IFNAME"] = next(name for _, name in socket.if_nameindex() if name in ("lo", "lo0"))
    if folder is not None:
        variables["TMPDIR"] = os.path.dirname(folder)
    return variables


@contextlib.contextmanager
def for_this_machine(variables: Mapping[str, str]) -> Iterator[None]:
    """Let a Ray that starts in the block have ``variables``, listen on 127.0.0.1 only, and run the processes that are needed.

    On Linux it would listen on every address: Ray 2.60 does this for Windows and macOS only, and reads its variable once, at
    import. Its agent tries one port for 3.4 s where another Ray has it, so it gets a free one. Not needed are those that scale
    a cluster, print the workers' logs and answer the dashboard: a processor second each, and the start waits for the last one.
    """
    from ray._private import parameter, ray_constants, services

    settings: dict[str, Any] = {"dashboard_agent_listen_port": 0, "no_monitor": True, "include_log_monitor": False}
    if start_worker.SETTINGS_VARIABLE in variables:
        settings["worker_path"] = start_worker.__file__
    before = {name: os.environ.get(name) for name in variables}
    clusters, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    parameters, parameter.RayParams = parameter.RayParams, partial(parameter.RayParams, **settings)
    start_api_server, services.start_api_server = services.start_api_server, lambda *_, **__: (None, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters
        parameter.RayParams = parameters
        services.start_api_server = start_api_server
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def children_without_hang_up() -> Iterator[None]:
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


def start_data_actors() -> None:
    """Start the two actors of Ray Data that the workers' start and the first rows wait for, while nothing else does."""
    from ray.data._internal.cluster_autoscaler import get_or_create_autoscaling_coordinator
    from ray.data._internal.stats import get_or_create_stats_actor

    get_or_create_autoscaling_coordinator()
    get_or_create_stats_actor()
