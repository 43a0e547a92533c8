"""A Ray of three hosts in network namespaces: it forms, works on each of them, and outlives a cable pulled and put back.

A storage path that every host has, and each its own of, is refused before anything is prepared or trained.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.drivers import ON_EACH_HOST, cluster_environment, seen_by
from tests.cluster.hosts import Host, hosts, partition, ray_on, refusal
from tests.cluster.processes import wait_until
from tests.cluster.runs import World

pytestmark = pytest.mark.cluster

SHORT_S = 5
"""Seconds without a cable that nobody should notice: Ray gives a node up after five unanswered health checks, 3 s apart."""


@dataclass(frozen=True)
class Cluster:
    machines: list[Host]
    environment: dict[str, str]


@pytest.fixture(scope="module")
def machines() -> Iterator[list[Host]]:
    reason = refusal()
    if reason:
        pytest.skip(reason)
    with hosts(3) as made:
        yield made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def cluster(machines: list[Host], home: Path) -> Iterator[Cluster]:
    environment = cluster_environment(home)
    with ray_on(machines, environment):
        yield Cluster(machines, environment)


def test_the_hosts_are_apart(machines: list[Host]) -> None:
    first, second, third = machines
    assert first.reaches(second)
    third.cut()
    assert not first.reaches(third)
    assert not third.reaches(second)
    assert first.reaches(second)
    third.mend()
    wait_until(lambda: third.reaches(second), "the mended link", 30)


def test_a_task_runs_on_each_host(cluster: Cluster) -> None:
    head = cluster.machines[0]
    environment = {**cluster.environment, "RAY_ADDRESS": f"{head.address}:6379"}
    done = head.call([sys.executable, "-c", ON_EACH_HOST], environment)
    assert done.returncode == 0, done.stderr
    seen = seen_by(done.stdout)
    assert set(seen) == {host.address for host in cluster.machines}
    for host in cluster.machines:
        assert host.address in seen[host.address]
        assert not {other.address for other in cluster.machines if other != host} & set(seen[host.address])


def test_a_job_is_submitted_from_another_host(cluster: Cluster, tmp_path: Path) -> None:
    """The folder travels over the network, the job's tasks run on each host, its exit code comes back."""
    (tmp_path / "driver.py").write_text(ON_EACH_HOST + "raise SystemExit(7)\n")
    client = (
        "import sys; from raykd.submit import job_submission as jobs; from raykd.submit.client import connect\n"
        "client = connect(sys.argv[1])\n"
        "job = client.submit_job(entrypoint='python driver.py', runtime_env={'working_dir': sys.argv[2]})\n"
        "sys.exit(jobs._exit_code(jobs._follow(client, job, sys.argv[1])))\n"
    )
    head, other = cluster.machines[0], cluster.machines[1]
    done = other.call([sys.executable, "-c", client, f"http://{head.address}:8265", str(tmp_path)], cluster.environment)
    assert done.returncode == 7, done.stdout + done.stderr
    assert set(seen_by(done.stdout)) == {host.address for host in cluster.machines}
    assert "unencrypted" in done.stderr


COUNT_ON_THE_LAST_HOST = """
import json, sys, time, ray
from pathlib import Path
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

address, calls, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])

@ray.remote(max_restarts=0)
class Counter:
    def __init__(self):
        self.count = 0

    def next(self):
        self.count += 1
        return self.count

ray.init(log_to_driver=False, logging_level="ERROR")
[node] = [node["NodeID"] for node in ray.nodes() if node["NodeManagerAddress"] == address]
counter = Counter.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
counts, longest = [], 0.0
for _ in range(calls):
    began = time.monotonic()
    counts.append(ray.get(counter.next.remote(), timeout=120))
    longest = max(longest, time.monotonic() - began)
    (folder / "counts").write_text(str(counts[-1]))
    time.sleep(0.1)  # calls go on all through the partition
alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
print("SEEN " + json.dumps({"counts": counts, "alive": len(alive), "same": node in alive, "longest": longest}))
"""


def test_a_short_partition_is_outlived(cluster: Cluster, tmp_path: Path) -> None:
    head, last = cluster.machines[0], cluster.machines[-1]
    environment = {**cluster.environment, "RAY_ADDRESS": f"{head.address}:6379"}
    words = [sys.executable, "-c", COUNT_ON_THE_LAST_HOST, last.address, "100", str(tmp_path)]
    driver = subprocess.Popen(head.command(words), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: driver.poll() is not None or count_in(tmp_path) >= 20, "twenty calls", poll_s=0.05)
        partition(last, SHORT_S)
        output, errors = driver.communicate(timeout=240)
    finally:
        driver.kill()
        driver.wait()
    assert driver.returncode == 0, errors
    [line] = [line for line in output.splitlines() if line.startswith("SEEN ")]
    seen = json.loads(line.removeprefix("SEEN "))
    assert seen["counts"] == list(range(1, 101))
    assert (seen["alive"], seen["same"]) == (3, True)
    # the cable was really out while the calls went on
    assert seen["longest"] > SHORT_S / 2


def count_in(folder: Path) -> int:
    text = (folder / "counts").read_text() if (folder / "counts").exists() else ""
    return int(text or 0)


def test_a_folder_that_is_not_shared_is_refused(cluster: Cluster, world: World) -> None:
    head, *others = cluster.machines
    storage = head.temp / "runs"  # a folder of each host's own, at the same path
    driver = {**cluster.environment, "RAY_ADDRESS": f"{head.address}:6379"}
    done = head.call([sys.executable, "-m", "raykd.cli", "run", str(world.job), "--set", f"storage={storage}"], driver)
    assert done.returncode == 2, done.stderr
    found = re.findall(rf"{storage}/calm is not one folder for all nodes: ([\d., ]+) did not see", done.stderr)
    assert [sorted(one.split(", ")) for one in found] == [[other.address for other in others]], done.stderr
    assert "shared file system" in done.stderr
    assert not (head.private / "runs" / "cache").exists()


def test_nothing_is_left_behind() -> None:
    reason = refusal()
    if reason:
        pytest.skip(reason)
    with pytest.raises(KeyError), hosts(2) as made:
        raise KeyError
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert not [host.name for host in made if host.name in listed.split()]
    assert not made[0].temp.exists()
