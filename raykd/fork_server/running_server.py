"""Start and stop of the fork server of a command."""

import atexit
import importlib.util
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping

from raykd.fork_server import start_worker
from raykd.freed_memory import variables_that_keep_freed_memory

log = logging.getLogger(__name__)

PROGRAM = (
    "import sys; del sys.path[0]; import json; sys.path[:] = json.loads(sys.argv[2]); "
    "from raykd.fork_server.server import main; main()"
)
"""The server's program: it imports what this process would, and no module of the current folder before."""
FOLDER_BYTES = 80
"""Maximum bytes of the folder's path: a socket's path has at most 107."""
REGISTER_VARIABLE, REGISTER_S = "RAY_worker_register_timeout_seconds", "300"
"""Seconds that Ray waits for a worker: on a slow machine the server's imports take longer than Ray's 60."""
BACKLOG = 128
"""Workers that may wait while the server imports."""


class ForkServer:
    """A fork server that ends with this process, or with :meth:`stop`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it; its imports take seconds, in which this process goes on.

        ``environment``: variables that every worker has beside this process's. Raises OSError where no socket can be made.
        """
        self._environment, self._owner = dict(environment), os.getpid()
        self.has_served = False
        self._folder = tempfile.mkdtemp(prefix="raykd-", dir=_short_folder())  # for this user only
        self._address = os.path.join(self._folder, "fork")
        path = [entry for entry in sys.path if isinstance(entry, str)]  # Python ignores others
        reading, self._alive = os.pipe()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.bind(self._address)
                listener.listen(BACKLOG)
                self._process = subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, str(listener.fileno()), json.dumps(path)],
                    stdin=reading,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, **environment},
                    pass_fds=[listener.fileno()],
                )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(reading)

    @property
    def pid(self) -> int:
        """Number of the server's process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """True while it runs and belongs to this process, not to one that this was forked from."""
        return self._owner == os.getpid() and self._process.poll() is None

    def settings(self, program: str) -> str:
        """Settings of :mod:`raykd.fork_server.start_worker`; ``program`` is the path of Ray's own program for a worker."""
        self.has_served = True
        return json.dumps({"socket": self._address, "program": program, "environment": self._environment})

    def stop(self) -> None:
        """End the server, also while it imports. Workers that it has forked go on."""
        if self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
            self._close()

    def _close(self) -> None:
        os.close(self._alive)
        shutil.rmtree(self._folder, ignore_errors=True)


def _short_folder() -> str | None:
    """A folder for temporary files where a socket's path is not too long; None is the default folder."""
    if len(os.fsencode(tempfile.gettempdir())) <= FOLDER_BYTES:
        return None
    return next((path for path in ("/tmp", "/var/tmp", "/dev/shm") if os.access(path, os.W_OK | os.X_OK)), None)


class _Running:
    """The fork server of this process's local Ray."""

    server: ForkServer | None = None


def prepare_fork_server() -> bool:
    """Start the fork server of the next local Ray of this process, unless it runs. False where workers cannot be forked."""
    if sys.platform != "linux":  # macOS's own libraries do not survive a fork
        return False
    if _Running.server is not None and (_Running.server.has_served or not _Running.server.is_alive):
        stop_fork_server()  # it has the environment of an earlier Ray
    if _Running.server is None:
        try:
            _Running.server = ForkServer(variables_that_keep_freed_memory())
        except OSError as error:
            log.info("each worker process makes its own imports: %s", error)
            return False
        atexit.register(stop_fork_server)
    return True


def use_fork_server() -> dict[str, str]:
    """Take the fork server for a local Ray that starts. Returns variables for Ray's processes; none without a server."""
    found = importlib.util.find_spec("ray")
    if found is None or found.origin is None or not prepare_fork_server() or _Running.server is None:
        return {}
    program = os.path.join(os.path.dirname(found.origin), "_private", "workers", "default_worker.py")
    return {
        start_worker.SETTINGS_VARIABLE: _Running.server.settings(program),
        "RAY_prestart_worker_first_driver": "0",  # ray.init would wait for the first workers, and so for the server's imports
        REGISTER_VARIABLE: os.environ.get(REGISTER_VARIABLE, REGISTER_S),
    }


def is_running() -> bool:
    """True while this process has a fork server."""
    return _Running.server is not None and _Running.server.is_alive


def stop_fork_server() -> None:
    """End the fork server, if there is one. The workers that it has forked go on."""
    server, _Running.server = _Running.server, None
    if server is not None:
        server.stop()
        atexit.unregister(stop_fork_server)
