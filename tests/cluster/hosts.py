"""Hosts that are really apart: network namespaces with addresses of their own, on a bridge in a namespace of its own.

Nothing of the machine's own network is touched. A host has its own Ray temp folder; the rest of the disk is shared, as by a
network file system. Needs root and iproute2.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.cluster.processes import running, wait_until

PREFIX = "raykdtest"
NETWORK = "10.77.0"
_numbers = itertools.count()


def refusal() -> str | None:
    """Why there can be no hosts here; None when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "iproute2 (the `ip` command) is not installed"
    name = f"{PREFIX}-{os.getpid()}-probe"
    for command in (
        f"ip netns add {name}",
        f"ip -n {name} link add br0 type bridge",
        f"ip -n {name} link add name veth0 type veth peer name veth1",
        f"ip netns exec {name} unshare --mount true",
    ):
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        if done.returncode:
            _delete(name)
            return f"`{command}` is not permitted here: {done.stderr.strip()}"
    _delete(name)
    return None


@dataclass(frozen=True)
class Host:
    """One network namespace."""

    name: str
    address: str
    port: str
    """Its end of the cable at the bridge."""
    switch: str
    private: Path
    """Folder that the host sees at ``temp``."""
    temp: Path

    def command(self, words: Sequence[str]) -> list[str]:
        """The words, as run on this host."""
        mount = 'mount --bind "$0" "$1" && shift && exec "$@"'
        inside = ["unshare", "--mount", "bash", "-c", mount, str(self.private), str(self.temp), *words]
        return ["ip", "netns", "exec", self.name, *inside]

    def call(
        self, words: Sequence[str], environment: Mapping[str, str], limit_s: float = 300
    ) -> "subprocess.CompletedProcess[str]":
        """Run to the end and return what came out."""
        return subprocess.run(
            self.command(words), env=dict(environment), capture_output=True, text=True, timeout=limit_s, check=False
        )

    def cut(self) -> None:
        """Pull the cable: packets are lost, nobody is told."""
        _ip("-n", self.switch, "link", "set", self.port, "down")

    def mend(self) -> None:
        """Plug it in again."""
        _ip("-n", self.switch, "link", "set", self.port, "up")

    def reaches(self, other: "Host") -> bool:
        """True when a connection to the other host (to the discard port) gets an answer within a second, be it a refusal."""
        probe = (
            "import socket, sys; s = socket.socket(); s.settimeout(1); sys.exit(s.connect_ex((sys.argv[1], 9)) not in (0, 111))"
        )
        return self.call(["python3", "-c", probe, other.address], os.environ).returncode == 0


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def _delete(name: str) -> None:
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _sweep() -> None:
    """Delete the namespaces of test runs that were killed."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        if name.startswith(f"{PREFIX}-") and not psutil.pid_exists(int(name.split("-")[1])):
            _delete(name)


@contextlib.contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """``count`` hosts that reach each other; all is gone at the end, also when something raised on the way."""
    _sweep()
    prefix = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
    switch = f"{prefix}-switch"
    folder = Path(tempfile.mkdtemp(prefix="rk-", dir="/tmp"))
    made: list[Host] = []
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        (folder / "ray").mkdir()
        for index in range(count):
            (folder / f"h{index}").mkdir()
            made.append(
                Host(
                    f"{prefix}-h{index}", f"{NETWORK}.{index + 1}", f"port{index}", switch, folder / f"h{index}", folder / "ray"
                )
            )
            _connect(made[-1])
        wait_until(lambda: all(made[0].reaches(host) for host in made[1:]), "the hosts to reach each other", 30)
        yield made
    finally:
        for host in made:
            _delete(host.name)
        _delete(switch)
        shutil.rmtree(folder, ignore_errors=True)


def _connect(host: Host) -> None:
    _ip("netns", "add", host.name)
    _ip("-n", host.switch, "link", "add", host.port, "type", "veth", "peer", "name", "eth0", "netns", host.name)
    _ip("-n", host.switch, "link", "set", host.port, "master", "br0")
    _ip("-n", host.switch, "link", "set", host.port, "up")
    _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
    for link in ("lo", "eth0"):
        _ip("-n", host.name, "link", "set", link, "up")


def ray_start(host: Host, head: Host, *, cpus: int, object_store_bytes: int = 100 * 1024**2) -> list[str]:
    """The command that makes the host a node of the head's cluster, or the head itself; it ends when the node does."""
    role = ["--head", "--port=6379", f"--dashboard-host={head.address}", "--dashboard-port=8265", f"--temp-dir={host.temp}"]
    words = role if host == head else [f"--address={head.address}:6379"]
    size = [f"--num-cpus={cpus}", f"--object-store-memory={object_store_bytes}"]
    return host.command(
        ["ray", "start", "--block", "--disable-usage-stats", f"--node-ip-address={host.address}", *words, *size]
    )


@contextlib.contextmanager
def ray_on(
    machines: Sequence[Host], environment: Mapping[str, str], *, cpus: int = 2
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A Ray of all these hosts, the first one the head; the processes are the nodes', in the hosts' order."""
    with contextlib.ExitStack() as stack:
        nodes = []
        for host in machines:
            log = host.private.parent / f"{host.private.name}.log"
            command = ray_start(host, machines[0], cpus=cpus)
            nodes.append(stack.enter_context(running(command, log=log, env=environment)))
            if len(nodes) == 1:
                wait_until(lambda: alive_nodes(machines[0], environment) == 1, "the head")
        wait_until(lambda: alive_nodes(machines[0], environment) == len(machines), f"{len(machines)} nodes")
        yield nodes


def alive_nodes(head: Host, environment: Mapping[str, str]) -> int:
    """Number of nodes that the head counts as alive; 0 when it does not answer."""
    code = "from ray._raylet import GcsClient; import sys\n"
    code += "print(sum(node.state == 0 for node in GcsClient(sys.argv[1]).get_all_node_info(timeout=5).values()))"
    done = head.call(["python", "-c", code, f"{head.address}:6379"], environment)
    return int(done.stdout) if done.returncode == 0 else 0


def partition(host: Host, seconds: float) -> None:
    """Cut a host off, and plug it in again after so many seconds."""
    host.cut()
    try:
        time.sleep(seconds)
    finally:
        host.mend()
