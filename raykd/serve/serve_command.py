"""``raykd serve``: checks, then a server on Ray Serve until it is stopped, or lines of standard input."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from raykd.errors import ConfigError
from raykd.extras import require_extra
from raykd.serve.prediction_service import PredictionService, score_in_process
from raykd.serve.served_application import ServedApplication, service_of
from raykd.serve.served_model import ServedModel
from raykd.serve.stdin_loop import answer_lines

if TYPE_CHECKING:
    from fastapi import FastAPI

_LOCAL_SERVE = {
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
    "RAY_SERVE_FREEZE_GC_ON_STARTUP": "1",
}
"""Settings of Ray Serve on a local Ray unless they are set otherwise: those of its throughput mode that help replicas."""
GRACE_S = 5
"""Seconds that requests may still take when the server is stopped."""


def serve_lines(settings: ServedApplication) -> None:
    """Answer the lines of standard input on standard output, without a server and without Ray."""
    answer_lines(local_service(settings), sys.stdin, sys.stdout)


def local_service(settings: ServedApplication) -> PredictionService:
    """The service with its models in this process."""
    student = ServedModel.load(settings.student, form=settings.form, int8=settings.int8, threads=settings.threads)
    teacher = None if settings.teacher is None else ServedModel.load(settings.teacher, threads=settings.threads)
    return service_of(settings, score_in_process(student), None if teacher is None else score_in_process(teacher))


def serve_http(settings: ServedApplication, *, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve over HTTP until the process is interrupted. Raises ConfigError for a port in use or packages that are absent."""
    require_extra("serve", "serving")
    check_port(host, port)
    from raykd.session import start_ray, stop_ray

    for name, value in _LOCAL_SERVE.items():
        os.environ.setdefault(name, value)
    models = 1 + (settings.teacher is not None)
    started = start_ray(num_cpus=(settings.replicas[1] + models - 1) * settings.threads + 1)
    from ray import serve

    from raykd.serve.deployment import deploy_models

    logging.getLogger("ray.serve").setLevel(logging.ERROR)  # its progress; the address is told below
    try:
        serve.start(proxy_location="Disabled", logging_config={"enable_access_log": False})
        with _listening(deploy_models(settings), host, port):
            tell(f"serving {settings.student} on http://{host}:{port}; the page is at /, the API at /docs; Ctrl+C stops it")
            _wait_for_end()
    finally:
        serve.shutdown()
        if started:
            stop_ray()


@contextmanager
def _listening(app: "FastAPI", host: str, port: int) -> Iterator[None]:
    """Answer HTTP in a thread meanwhile. Raises ConfigError when the port was taken in the last seconds."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(app, host=host, port=port, log_level="critical", access_log=False, timeout_graceful_shutdown=GRACE_S)
    )
    thread = threading.Thread(target=server.run, name="raykd-http", daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise ConfigError(f"--host {host} --port {port} cannot be used; choose another port, or end what listens there")
            time.sleep(0.02)  # it listens within tenths of a second
        yield
    finally:
        server.should_exit = True
        thread.join(2 * GRACE_S)


def _wait_for_end() -> None:
    """Wait for SIGINT or SIGTERM."""
    ended = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: ended.set())
    ended.wait()


def check_port(host: str, port: int) -> None:
    """Raise ConfigError when the address cannot be listened on."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise ConfigError(
            f"--host {host} --port {port} cannot be used ({error.strerror or error}); choose another port, or end what listens "
            "there"
        ) from None
