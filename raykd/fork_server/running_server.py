"""Start and stop of the fork server of a command."""

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

PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from raykd.fork_server.server import main; main()"
"""The server's program: it imports what this process would."""
FOLDER_BYTES = 80
"""Maximum bytes of the folder's path: a socket's path has at most 107."""
BACKLOG = 128
"""Workers that may wait while the server imports."""


class ForkServer:
    """A fork server that ends with this process, or with :meth:`stop`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it; its imports take seconds, in which this process goes on.

        ``environment``: variables that every worker has beside this process's. Raises OSError where no socket can be made.
        """
        self._environment = dict(environment)
        self._folder = tempfile.mkdtemp(prefix="raykd-", dir=_short_folder())  # for this user only
        self._address = os.path.join(self._folder, "fork")
        reading, self._alive = os.pipe()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.bind(self._address)
                listener.listen(BACKLOG)
                self._process = subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, str(listener.fileno()), json.dumps(sys.path)],
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

    def settings(self, program: str) -> str:
        """Settings of :mod:`raykd.fork_server.start_worker`; ``program`` is the path of Ray's own program for a worker."""
        return json.dumps({"socket": self._address, "program": program, "environment": self._environment})

    def stop(self) -> None:
        """End the server. Workers that it has forked go on."""
        self._close()
        self._process.wait()

    def _close(self) -> None:
        os.close(self._alive)
        shutil.rmtree(self._folder, ignore_errors=True)


def _short_folder() -> str | None:
    """A folder for temporary files where a socket's path is not too long; None is the default folder."""
    if len(os.fsencode(tempfile.gettempdir())) <= FOLDER_BYTES:
        return None
    return next((path for path in ("/tmp", "/var/tmp", "/dev/shm") if os.access(path, os.W_OK | os.X_OK)), None)


class _Running:
    """State of this process."""

    server: ForkServer | None = None
    """The fork server of its local Ray."""


def start_fork_server() -> dict[str, str]:
    """Start the fork server of this process's local Ray, unless it runs. Returns the variables of Ray's processes that need it.

    Nothing where there is no server.
    """
    found = importlib.util.find_spec("ray")
    if sys.platform != "linux" or found is None or found.origin is None:  # macOS's own libraries do not survive a fork
        return {}
    if _Running.server is None:
        try:
            _Running.server = ForkServer(variables_that_keep_freed_memory())
        except OSError as error:
            log.info("each worker process makes its own imports: %s", error)
            return {}
    program = os.path.join(os.path.dirname(found.origin), "_private", "workers", "default_worker.py")
    # ray.init would wait for the first workers, and so for the server's imports
    return {start_worker.SETTINGS_VARIABLE: _Running.server.settings(program), "RAY_prestart_worker_first_driver": "0"}


def is_running() -> bool:
    """True while there is one."""
    return _Running.server is not None


def stop_fork_server() -> None:
    """End it, if there is one; the workers that it has forked go on."""
    server, _Running.server = _Running.server, None
    if server is not None:
        server.stop()
