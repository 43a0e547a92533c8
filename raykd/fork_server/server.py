"""The fork server: imports what worker processes need, then forks one for each request until its parent ends.

Its first argument is the number of an inherited file descriptor, a listening Unix socket. Its standard input ends with its
parent. Requests are those of :mod:`raykd.fork_server.start_worker`.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from raykd.fork_server.start_worker import FIELDS, FORKED, HEADER_BYTES, OOM_SCORE_FILE

MODULES = ("pandas", "pyarrow.dataset", "raykd.data.step_stream")
"""Modules that most workers import, beside those of the first model."""
RAY_MODULES = (
    "ray.data",
    "ray.train.torch",
    "ray.train.v2._internal.execution.controller.controller",
    "raykd.run.worker",
    "raykd.predict.scorer",
)
"""Modules that import Ray, which reads variables of the job when it is imported: they wait for the first request."""
OWN_VARIABLES = {
    "RAY_JOB_ID", "OMP_NUM_THREADS", "SPT_NOENV", "PWD", "OLDPWD", "SHLVL", "_",
    "PL_DISABLE_FORK",  # Ray Tune sets it for trials that use PyTorch Lightning
}  # fmt: skip
"""Variables that may differ between workers. An import may have read any other."""
NO_JOB = "f" * 8
"""Ray's number for no job: a worker that starts with it takes the job of its first task, as those do that Ray starts early."""
SAME_NUMBERS = "an import has drawn one of Ray's random numbers, so that all forks would draw the same next ones"
READ_S = 10.0
"""Seconds until a request that has begun is read."""
STREAMS = 3
"""Standard input, output and error."""
MAX_BYTES = 2**24
"""Bytes of a request: the largest environment that Linux gives a process is smaller."""


def main() -> None:
    """Serve requests; in a forked process, run the program that was asked for."""
    os.environ["OMP_NUM_THREADS"] = "1"  # threads do not survive a fork: no library may start any
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # asking CUDA itself for GPUs makes it unusable in forks
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent decides
    listener = socket.socket(fileno=int(sys.argv[1]))
    gc.disable()
    with contextlib.suppress(ImportError):  # the worker that needs it imports it again, and reports why it cannot
        import torch

        from raykd.trainers.preload import import_first_model

        import_first_model(deepspeed=torch.version.cuda is None, device=torch.device("cpu"))
    import_modules(MODULES)
    request = serve(listener)
    if request is None:
        shutil.rmtree(os.path.dirname(listener.getsockname()), ignore_errors=True)  # the parent may have been killed
    else:
        run_program(request)


def import_modules(names: Sequence[str]) -> None:
    """Import modules; those that cannot be imported are left to the worker that needs them."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # a worker's collector would write to every page of these objects, and so copy it


def import_ray() -> None:
    """Import Ray's modules without drawing from the random numbers of its C++ code.

    Each class with ``ray.remote`` in a module draws a number. They come from a pool that is filled at the first draw and that
    a fork copies: afterwards two workers would give their placement groups one number.
    """
    import ray.actor

    class_number, ray.actor.ActorClassID = ray.actor.ActorClassID, _ClassNumbers
    try:
        import_modules(RAY_MODULES)
    finally:
        ray.actor.ActorClassID = class_number


class _ClassNumbers:
    """Stands in for Ray's numbers of actor classes."""

    @staticmethod
    def from_random() -> Any:
        from ray import ActorClassID

        return ActorClassID(os.urandom(ActorClassID.size()))


def unfit_for_forks() -> str:
    """Reason why forks of this process would not work as workers, found by two forks; empty where there is none."""
    from ray import UniqueID

    drawn = []
    for _ in range(2):
        reading, writing = os.pipe()
        if _fork() == 0:
            torch: Any = sys.modules.get("torch")
            os.write(writing, b"" if torch is not None and torch.cuda._is_in_bad_fork() else UniqueID.from_random().binary())
            os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:
            drawn.append(pipe.read())
    if not all(drawn):
        return "an import has started CUDA, which forks cannot use"
    return SAME_NUMBERS if drawn[0] == drawn[1] else ""


def serve(listener: socket.socket) -> dict[str, Any] | None:
    """Fork a process for each request. Returns the request in the forked process, None in the server once the parent has ended.

    Ray is imported with the first request's environment; a later request with another is refused.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system forgets processes that have ended
    environment: dict[str, str] = {}
    unfit = "the imports of the fork server have failed"
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return None
        with listener.accept()[0] as connection, contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as streams:
            connection.settimeout(READ_S)
            request, received = _receive(connection, streams)
            if not environment:
                environment = request["environment"]
                os.environ.update({**environment, "RAY_JOB_ID": NO_JOB, "OMP_NUM_THREADS": "1"})
                import_ray()
                unfit = unfit_for_forks()
            refusal = unfit or _refusal(environment, request["environment"])
            given_up = bool(select.select([connection], [], [], 0)[0])  # nothing else comes after a request but its end
            if given_up:  # the process makes its own imports by now: a second one would be the same worker
                continue
            if refusal:
                connection.sendall(refusal.encode())
            elif _fork() == 0:
                listener.close()
                for stream, number in zip(received, range(STREAMS), strict=True):
                    os.dup2(stream, number)
                return request
            else:
                connection.sendall(FORKED)


def run_program(request: Mapping[str, Any]) -> None:
    """Become the process that was asked for: folder, environment, limits, priority, signals; then run its program."""
    os.setpgrp()  # as Ray's own: it ends a lost worker's children by their process group
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, handler in ((signal.SIGCHLD, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, request["blocked_signals"])
    resource.setrlimit(resource.RLIMIT_NOFILE, request["open_files"])
    os.setpriority(os.PRIO_PROCESS, 0, request["niceness"])
    with open(OOM_SCORE_FILE, "w", encoding="ascii") as file:
        file.write(request["oom_score"])
    tempfile.tempdir = None  # the name of the folder, from TMPDIR, may have been asked for by an import
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()  # or all workers would draw the same numbers
    threads = os.environ.get("OMP_NUM_THREADS", "")
    torch: Any = sys.modules.get("torch")
    if torch is not None and threads.isdecimal() and int(threads) > 0:
        torch.set_num_threads(int(threads))
    gc.enable()
    sys.argv[:] = request["arguments"]
    runpy.run_path(sys.argv[0], run_name="__main__")


def _receive(connection: socket.socket, streams: contextlib.ExitStack) -> tuple[dict[str, Any], list[int]]:
    """A request and the worker's standard streams, which end with ``streams``. Raises OSError, ValueError: not a request."""
    header, received, _, _ = socket.recv_fds(connection, HEADER_BYTES, STREAMS)
    for stream in received:
        streams.callback(os.close, stream)
    expected, content = int.from_bytes(header, "big"), b""
    if expected > MAX_BYTES or len(received) != STREAMS:
        raise ValueError("not a request")
    while len(content) < expected:
        part = connection.recv(expected - len(content))
        if not part:
            raise ValueError("the request ended early")
        content += part
    request = json.loads(content)
    if not isinstance(request, dict) or not request.keys() >= FIELDS:
        raise ValueError("not a request")
    return request, received


def _refusal(own: Mapping[str, str], asked: Mapping[str, str]) -> str:
    """Reason not to fork a worker with the environment that was asked for; empty where there is none."""
    if threading.active_count() > 1:
        return f"an import has started the thread {threading.enumerate()[-1].name}, which forks would lack"
    differing = sorted(name for name in {*own, *asked} - OWN_VARIABLES if own.get(name) != asked.get(name))
    return f"other values of {', '.join(differing)}" if differing else ""


def _fork() -> int:
    """``os.fork`` without its warning about threads: the one here is jemalloc's, which restarts it in the new process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
