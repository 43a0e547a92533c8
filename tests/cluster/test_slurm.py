"""clusters/slurm.sbatch as written: three hosts for Slurm's nodes, stand-ins for `srun` and `scontrol` that go there."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.drivers import ON_EACH_HOST, seen_by
from tests.cluster.heads import ROOT, client_environment
from tests.cluster.hosts import Host, hosts, refusal
from tests.cluster.processes import running, wait_until

pytestmark = pytest.mark.cluster

SRUN = """#!/usr/bin/env bash
node=
while [[ $1 == --* ]]; do
    [[ $1 == --nodelist=* ]] && node=${1#*=}
    shift
done
exec ip netns exec "$node" "$@"
"""
SCONTROL = """#!/usr/bin/env bash
[[ "$1 $2" == "show hostnames" ]] && tr ' ' '\\n' <<<"$3"
"""
RAYKD = f"""#!{sys.executable}
import signal, sys, time
print("ARGUMENTS", sys.argv[1:], flush=True)
{ON_EACH_HOST}
sys.stdout.flush()
if "stop" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_: (print("STOPPED CLEANLY", flush=True), sys.exit(5)))
    print("WAITING", flush=True)
    time.sleep(300)
sys.exit(4)
"""


@pytest.fixture(scope="module")
def machines() -> Iterator[list[Host]]:
    reason = refusal()
    if reason:
        pytest.skip(reason)
    with hosts(3) as made:
        yield made


@pytest.fixture
def environment(machines: list[Host], tmp_path: Path) -> Iterator[dict[str, str]]:
    number = str(os.getpid())
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "raykd": RAYKD}.items():
        (tmp_path / "bin" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    base = client_environment(tmp_path)
    yield {
        **base,
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{base['PATH']}",
        "SLURM_JOB_ID": number,
        "SLURM_JOB_NODELIST": " ".join(host.name for host in machines),
        "SLURM_CPUS_PER_TASK": "2",
        "RAYKD_HEAD_IP": machines[0].address,
        "RAYKD_JOIN_LIMIT": "200",
    }
    shutil.rmtree(f"/tmp/ray-{number}", ignore_errors=True)


def script(*arguments: str) -> list[str]:
    return ["bash", str(ROOT / "clusters" / "slurm.sbatch"), *arguments]


def test_a_job_runs_on_all_nodes_and_leaves_nothing(machines: list[Host], environment: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "out"
    with running(script("jobs/demo.yaml", "--set", "name=two words"), log=log, env=environment) as process:
        wait_until(lambda: process.poll() is not None, "the Slurm script", 400)
        output = log.read_text()
        assert process.returncode == 4, output
        assert "ARGUMENTS ['run', 'jobs/demo.yaml', '--set', 'name=two words']" in output
        assert set(seen_by(output)) == {host.address for host in machines}
        wait_until(lambda: not processes_in(machines), "Ray's processes to end with the script", 60)


def processes_in(machines: list[Host]) -> list[str]:
    listed = [
        subprocess.run(["ip", "netns", "pids", host.name], capture_output=True, text=True, check=True) for host in machines
    ]
    return [pid for done in listed for pid in done.stdout.split()]


def test_the_time_limits_signal_reaches_the_driver(machines: list[Host], environment: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "out"
    with running(script("jobs/demo.yaml", "stop"), log=log, env=environment) as process:
        wait_until(lambda: process.poll() is not None or "WAITING" in log.read_text(), "the driver to wait", 400)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: process.poll() is not None, "the Slurm script to end")
        output = log.read_text()
        assert "STOPPED CLEANLY" in output
        assert process.returncode == 5, output


def test_a_node_that_does_not_come_is_an_error(machines: list[Host], environment: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "out"
    machines[-1].cut()
    try:
        with running(script("jobs/demo.yaml"), log=log, env={**environment, "RAYKD_JOIN_LIMIT": "30"}) as process:
            wait_until(lambda: process.poll() is not None, "the Slurm script to give up", 300)
            assert process.returncode == 1, log.read_text()
    finally:
        machines[-1].mend()
    assert re.search(r"[12] of 3 Ray nodes joined within 30 s", log.read_text())
    assert "ARGUMENTS" not in log.read_text()


def test_a_job_file_is_asked_for(tmp_path: Path) -> None:
    done = subprocess.run(script(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no job file; give one: sbatch clusters/slurm.sbatch jobs/" in done.stderr
