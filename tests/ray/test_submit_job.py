"""Submission to a real head with token authentication, through `raykd.submit` and through Ray's own command line."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raykd import submit as raykd_submit
from raykd.errors import ResourceError
from raykd.submit import submit
from tests.cluster.heads import ROOT, Head, head, http_status
from tests.cluster.processes import MARK, marked, wait_until
from tests.cluster.tunnel import Tunnel
from tests.unit.submit.job_files import head_command

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

JOB = """
name: {name}
storage: /shared/runs
data: {{input_schema: "label:str:1,sent:str:1", first_sequence: sent, label: label, train: [/shared/train.tsv]}}
teacher: {{model: teacher}}
student: {{model: student}}
"""
STUB = """#!/usr/bin/env bash
# Stands in for the training: what submission promises is that this command runs in the uploaded folder, and how it ends.
echo "ran: raykd $*"
echo "folder: $(ls -A | tr '\\n' ' ')"
echo "key of ${#WANDB_API_KEY} characters"
case "$2" in
    jobs/fails.yaml) exit 3 ;;
    jobs/killed.yaml) kill -KILL $$ ;;
    jobs/slow.yaml)
        trap 'sleep 5; echo stopped cleanly; exit 0' TERM
        touch "$RAYKD_TEST_FOLDER/started"
        while true; do sleep 0.1; done ;;
    jobs/counts.yaml) touch "$RAYKD_TEST_FOLDER/counting"; for i in $(seq 1 60); do echo "line $i"; sleep 0.2; done ;;
esac
"""
ONE_OF_EACH_KIND = {"demo.yaml", "metakd-amazon.yaml", "tune-sst2.yaml"}
"""Job files whose commands are run here; tests/unit/submit/test_job_submission.py reads the command of every one."""
KEY = "-".join(["a", "key", "that", "must", "not", "be", "seen"])  # this file travels too, with a checkout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("head")
    with head(folder, extra_path=make_stub(folder), extra_env={"RAYKD_TEST_FOLDER": str(folder)}) as running:
        yield running


def make_stub(folder: Path) -> Path:
    stub = folder / "bin" / "raykd"
    stub.parent.mkdir()
    stub.write_text(STUB)
    stub.chmod(0o755)
    return stub.parent


@pytest.fixture
def work(tmp_path: Path, cluster: Head, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with job files, the current one; this process is a client of the cluster."""
    (tmp_path / "jobs").mkdir()
    for name in ("demo", "fails", "killed", "slow", "counts"):
        (tmp_path / "jobs" / f"{name}.yaml").write_text(JOB.format(name=name))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "old").write_text("left behind")
    (tmp_path / ".env").write_text(KEY)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, cluster.environment[name])
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    return tmp_path


def job_id_of(output: str) -> str:
    return output.splitlines()[0]


def test_output_and_exit_code_come_back(work: Path, cluster: Head, capfd: pytest.CaptureFixture[str]) -> None:
    assert submit("jobs/demo.yaml", address=cluster.address, overrides=["tracking.project=two words"]) == 0
    output = capfd.readouterr().out
    assert "ran: raykd run jobs/demo.yaml --set tracking.project=two words" in output
    assert "folder: jobs \n" in output
    assert "Runtime env is setting up" not in output
    assert f"key of {len(KEY)} characters" in output
    assert raykd_submit.status(job_id_of(output), address=cluster.address) == "SUCCEEDED"


@pytest.mark.parametrize(("job", "code"), [("fails", 3), ("killed", 137)])
def test_a_failing_job_fails_the_command(work: Path, cluster: Head, job: str, code: int) -> None:
    assert submit(f"jobs/{job}.yaml", address=cluster.address) == code


def test_a_job_stops_cleanly(work: Path, cluster: Head, capfd: pytest.CaptureFixture[str]) -> None:
    assert submit("jobs/slow.yaml", address=cluster.address, wait=False) == 0
    output = capfd.readouterr().out
    job_id = output.strip()
    assert output == f"{job_id}\n"
    started = Path(cluster.environment["RAYKD_TEST_FOLDER"]) / "started"
    wait_until(started.exists, "the job to start")
    assert raykd_submit.status(job_id, address=cluster.address) == "RUNNING"
    assert raykd_submit.stop(job_id, address=cluster.address) == "STOPPED"
    log = ray(cluster.environment, "job", "logs", job_id, "--address", cluster.address)
    assert "stopped cleanly" in log.stdout
    with pytest.raises(ResourceError, match=r"answers: .*404"):
        raykd_submit.stop("raysubmit_unknown", address=cluster.address)


def call(command: list[str], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def ray(environment: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    return call([str(Path(sys.executable).parent / "ray"), *words], environment)


def python(code: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return call([sys.executable, "-c", code], environment)


def ray_job_submit(cluster: Head, environment: dict[str, str], job: str) -> "subprocess.CompletedProcess[str]":
    runtime_env = str(ROOT / "clusters" / "runtime-env.yaml")
    options = ["--address", cluster.address, "--working-dir", ".", "--runtime-env", runtime_env]
    return ray(environment, "job", "submit", *options, "--", "raykd", "run", job)


def test_the_command_at_the_head_of_a_job_file(work: Path, cluster: Head) -> None:
    done = ray_job_submit(cluster, cluster.environment, "jobs/demo.yaml")
    assert done.returncode == 0, done.stderr
    assert "ran: raykd run jobs/demo.yaml" in done.stdout
    assert "folder: jobs \n" in done.stdout
    assert ray_job_submit(cluster, cluster.environment, "jobs/fails.yaml").returncode == 1


@pytest.mark.parametrize(
    "job",
    [
        pytest.param(job, id=job.stem, marks=() if job.name in ONE_OF_EACH_KIND else pytest.mark.long)
        for job in sorted((ROOT / "jobs").glob("*.yaml"))
    ],
)
def test_the_command_of_every_job_file_works_as_pasted(
    work: Path, cluster: Head, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a checkout, on a cluster of one machine; Ray lets a variable say where that is."""
    command = head_command(job)
    monkeypatch.chdir(ROOT)
    done = call(["bash", "-c", command], {**cluster.environment, "RAY_API_SERVER_ADDRESS": cluster.address})
    assert done.returncode == 0, done.stderr
    assert re.search(rf"ran: raykd (run|tune) jobs/{job.name} --root {ROOT}", done.stdout)


@pytest.mark.parametrize("token", ["wrong", None])
def test_without_the_token_nobody_gets_in(work: Path, cluster: Head, token: str | None) -> None:
    kept = {key: value for key, value in cluster.environment.items() if not key.startswith("RAY_AUTH")}
    environment = (
        {**kept, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {**kept, "RAY_AUTH_MODE": "disabled"}
    )
    jobs_before = count_jobs(cluster)
    message = "refuses this token" if token else "wants a token and was given none"
    for words in ("submit('jobs/demo.yaml'", "status('raysubmit_1'", "stop('raysubmit_1'"):
        # in a process of its own: Ray reads the mode and the token once
        done = python(f"from raykd.submit import *; {words}, address={cluster.address!r})", environment)
        assert done.returncode != 0
        assert f"ResourceError: {cluster.address} {message}; put the cluster's token" in done.stderr
    done = ray_job_submit(cluster, environment, "jobs/demo.yaml")
    assert done.returncode != 0
    assert "uthenticat" in done.stdout + done.stderr
    for method, path in PROTECTED:
        assert http_status(cluster.address + path, token, method) == (403 if token else 401), path
    driver = python("import ray; ray.init(); print('in')", {**environment, "RAY_ADDRESS": gcs_address(cluster)})
    assert driver.returncode != 0
    assert "in\n" not in driver.stdout
    assert count_jobs(cluster) == jobs_before


PROTECTED = [
    *[
        ("GET", f"/api/{path}")
        for path in ("jobs/", "jobs/raysubmit_1/logs", "v0/nodes", "v0/actors", "cluster_status", "v0/logs")
    ],
    *[("POST", "/api/jobs/"), ("POST", "/api/jobs/raysubmit_1/stop"), ("DELETE", "/api/jobs/raysubmit_1")],
    *[("GET", "/nodes?view=summary"), ("PUT", "/api/packages/gcs/_ray_pkg_0.zip")],
]


def count_jobs(cluster: Head) -> int:
    listed = ray(cluster.environment, "job", "list", "--address", cluster.address)
    assert listed.returncode == 0, listed.stderr
    return listed.stdout.count("submission_id='")


def gcs_address(cluster: Head) -> str:
    return f"127.0.0.1:{cluster.environment['RAYKD_PORT']}"


def test_keys_stay_out_of_sight(work: Path, cluster: Head, capfd: pytest.CaptureFixture[str]) -> None:
    from raykd.submit.client import connect

    assert submit("jobs/demo.yaml", address=cluster.address) == 0
    captured = capfd.readouterr()
    details = connect(cluster.address).get_job_info(job_id_of(captured.out))
    assert KEY not in captured.out + captured.err + details.entrypoint + str(details.metadata)
    token = Path(cluster.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    for secret, known in ((KEY, {"runtime_env_agent.log"}), (token, set())):
        found = {path.name for path in files_with(secret, cluster.session)}
        # Ray's own agent writes a job's whole environment into its log on the node; raykd's documents say so
        assert found == known, "the log shows that the search finds what is there"


def files_with(text: str, folder: Path) -> list[Path]:
    done = call(["grep", "-rlF", text, str(folder)], dict(os.environ))
    assert done.returncode in (0, 1), done.stderr
    return [Path(line) for line in done.stdout.splitlines()]


def test_a_cut_connection_is_taken_up_again(work: Path, cluster: Head, capfd: pytest.CaptureFixture[str]) -> None:
    def cut_midway() -> None:
        wait_until(started.exists, "the job to print", poll_s=0.1)
        time.sleep(2)
        cuts.append(tunnel.cut())
        time.sleep(4)
        tunnel.mend()

    started, cuts = Path(cluster.environment["RAYKD_TEST_FOLDER"]) / "counting", []
    with Tunnel(int(cluster.address.rpartition(":")[2])) as tunnel:
        cutter = threading.Thread(target=cut_midway)
        cutter.start()
        assert submit("jobs/counts.yaml", address=f"http://127.0.0.1:{tunnel.port}") == 0
        cutter.join()
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("line ")]
    assert cuts[0] > 0
    assert lines == [f"line {i}" for i in range(1, 61)]


def test_nothing_of_the_head_outlives_it(tmp_path: Path) -> None:
    """The fixture's own promise: what is started is ended by id, whatever Ray made of it."""
    import psutil

    with head(tmp_path, cpus=1) as running:
        temp = running.session
        printed = (tmp_path / "head.log").read_text()
        assert f"raykd submit JOB --address {running.address}" in printed
        assert "Next steps" not in printed
        below = {one.pid for one in psutil.Process().children(recursive=True)}
        found = [one for one in psutil.process_iter(["environ", "cmdline"]) if one.pid in below]  # without one that has ended
        (mark,) = {one.info["environ"][MARK] for one in found if str(temp) in " ".join(one.info["cmdline"] or [])}
        assert any(str(temp) in " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    left = [process for process in psutil.process_iter(["cmdline"]) if str(temp) in " ".join(process.info["cmdline"] or [])]
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
    assert not temp.exists()
    assert not marked(mark)
