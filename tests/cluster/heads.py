"""A real Ray head on 127.0.0.1 with token authentication, started by clusters/local-node.sh, ended by its processes' ids."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.processes import free_ports, running, wait_until

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Head:
    address: str
    """Of the dashboard, which the job server is part of."""
    environment: dict[str, str]
    """For its clients: the token's file, a HOME without anybody's token, and the settings of clusters/local-node.sh."""
    session: Path
    """Ray's temp folder: sockets, logs, unpacked working_dirs."""


def client_environment(home: Path) -> dict[str, str]:
    """This shell's environment without what names a Ray or a token, and with the scripts of the running Python on PATH."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "AWS_", "WANDB_API", "HF_TOKEN"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "HOME": str(home), "PATH": path, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


@contextlib.contextmanager
def head(
    folder: Path, *, cpus: int = 4, extra_path: Path | None = None, extra_env: Mapping[str, str] | None = None
) -> Iterator[Head]:
    """Start a head with its own HOME, token, ports and temp folder; ``extra_path`` goes before its PATH."""
    home = folder / "home"
    home.mkdir()
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    temp = Path(tempfile.mkdtemp(prefix="rk-", dir="/tmp"))  # sockets need a short path
    port, dashboard, agent, client = free_ports(4)
    clients = {
        **client_environment(home),
        **(extra_env or {}),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAYKD_PORT": str(port),
        "RAYKD_DASHBOARD_PORT": str(dashboard),
        "RAYKD_AGENT_PORT": str(agent),
        "RAYKD_CLIENT_PORT": str(client),
        "RAYKD_CPUS": str(cpus),
        "RAYKD_OBJECT_STORE_BYTES": str(100 * 1024**2),
        "RAYKD_TEMP_DIR": str(temp),
    }
    path = f"{extra_path}{os.pathsep}{clients['PATH']}" if extra_path else clients["PATH"]
    address = f"http://127.0.0.1:{dashboard}"
    log = folder / "head.log"
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(ATTEMPTS):
                log.unlink(missing_ok=True)
                command = [str(ROOT / "clusters/local-node.sh")]
                process = stack.enter_context(running(command, log=log, env={**clients, "PATH": path}))
                if settled(process, log, f"{address}/api/version", token.read_text()):
                    break
                stack.close()
            else:
                raise AssertionError(f"no head after {ATTEMPTS} attempts: {log.read_text()}")
            yield Head(address, clients, temp)
    finally:
        shutil.rmtree(temp, ignore_errors=True)


ATTEMPTS = 3
"""Ray ends a head whose services have not found each other in 30 s: too little on a machine with other work."""


def settled(process: subprocess.Popen[bytes], log: Path, url: str, token: str) -> bool:
    """True when the head got through its start; False when it ended."""

    def started() -> bool:
        return "Ray is up" in log.read_text() and http_status(url, token) == 200

    wait_until(lambda: process.poll() is not None or started(), f"the head's {url}")
    time.sleep(2)  # the first look at its services' exit codes comes a second later
    return process.poll() is None


def http_status(url: str, token: str | None, method: str = "GET") -> int:
    """The status of a bare request; 0 when nobody answers."""
    request = urllib.request.Request(url, method=method, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
