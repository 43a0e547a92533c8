"""The program that a local Ray starts for each worker process: asks the fork server for it, or becomes it.

It runs by its path and imports nothing but the standard library, so that it takes hundredths of a second.
"""

import json
import os
import resource
import signal
import socket
import sys

SETTINGS_VARIABLE = "RAYKD_START_WORKER"
"""Settings of this program, as JSON: ``socket``, the path of the fork server's Unix socket; ``program``, the path of Ray's own
program for a worker; ``environment``, variables that every worker has."""
OOM_SCORE_FILE = "/proc/self/oom_score_adj"
ANSWER_S = 240.0
"""Seconds to wait for a process: the server may still import. A server that has ended is noticed at once."""
FORKED = b"forked"
"""The server's answer; any other is the reason why it refuses."""
ANSWER_BYTES = 4096
HEADER_BYTES = 8
"""The number of a request's bytes comes before it."""
FIELDS = {"arguments", "environment", "folder", "niceness", "oom_score", "open_files", "blocked_signals"}
"""Keys of a request."""


def main() -> int:
    """Get a process from the fork server, or run Ray's program in this one."""
    settings = json.loads(os.environ[SETTINGS_VARIABLE])
    os.environ.update(settings["environment"])
    arguments = [settings["program"], *sys.argv[1:]]
    answer = ask(settings["socket"], arguments)
    if answer != FORKED:
        reason = answer.decode() or "the fork server has ended, or cannot fork"
        sys.stderr.write(f"raykd: this worker makes its own imports: {reason}\n")
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *arguments])
    return 0


def ask(address: str, arguments: list[str]) -> bytes:
    """Ask the fork server for a process with these arguments, and this one's environment and streams. Returns the answer."""
    request = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
        "oom_score": read_oom_score(),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "blocked_signals": sorted(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    }
    content = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(address)
            socket.send_fds(connection, [len(content).to_bytes(HEADER_BYTES, "big")], [0, 1, 2])
            connection.sendall(content)
            return connection.recv(ANSWER_BYTES)
        except OSError as error:
            return str(error).encode()


def read_oom_score() -> str:
    """Read which processes the kernel ends first when memory is short: Ray has its workers end before itself."""
    with open(OOM_SCORE_FILE, encoding="ascii") as file:
        return file.read()


if __name__ == "__main__":
    sys.exit(main())
