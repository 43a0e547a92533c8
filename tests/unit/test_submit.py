import asyncio
import logging
import os
import shlex
import shutil
import socket
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from raykd.config import load_job
from raykd.errors import ConfigError, ResourceError
from raykd.submit import client, job_submission, upload

JOB = """
name: demo
storage: /shared/runs
data: {input_schema: "label:str:1,sent:str:1", first_sequence: sent, label: label, train: [/shared/train.tsv]}
teacher: {model: teacher}
student: {model: student}
"""
ADDRESS = "http://127.0.0.1:8265"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("RAY_AUTH", "RAY_ADDRESS", "RAY_API"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    work = tmp_path / "work"
    (work / "jobs").mkdir(parents=True)
    (work / "jobs" / "demo.yaml").write_text(JOB)
    monkeypatch.chdir(work)
    return work


class FakeClient:
    """Ray's client without a network: one job with the given pieces of log and the given end."""

    def __init__(self, pieces: list[list[str | Exception]], ends: list[str], code: int | None) -> None:
        self.pieces, self.ends, self.code = pieces, ends, code
        self.submitted: dict[str, Any] = {}

    def submit_job(self, **options: Any) -> str:
        self.submitted = options
        return "raysubmit_1"

    async def tail_job_logs(self, job_id: str) -> Any:
        for piece in self.pieces.pop(0):
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def get_job_info(self, job_id: str) -> Any:
        from ray.job_submission import JobStatus

        return SimpleNamespace(
            status=JobStatus(self.ends.pop(0)), driver_exit_code=self.code, submission_id=job_id, message="setup\nfailed"
        )


def run_fake(monkeypatch: pytest.MonkeyPatch, fake: FakeClient, **options: Any) -> int:
    monkeypatch.setattr(job_submission, "connect", lambda address: fake)
    return job_submission.submit("jobs/demo.yaml", address=ADDRESS, **options)


def test_the_job_runs_in_the_uploaded_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeClient([["done\n"]], ["SUCCEEDED"], 0)
    assert run_fake(monkeypatch, fake, overrides=["tracking.project=a b"]) == 0
    assert shlex.split(fake.submitted["entrypoint"]) == ["raykd", "run", "jobs/demo.yaml", "--set", "tracking.project=a b"]
    assert fake.submitted["runtime_env"]["working_dir"] == "."
    assert ".git" in fake.submitted["runtime_env"]["excludes"]


JOBS = Path(__file__).parents[2] / "jobs"


def head_command(job: Path) -> str:
    """The command at the head of a job file that submits it, its lines joined."""
    comments = [line.removeprefix("#").strip() for line in job.read_text().splitlines() if line.startswith("#")]
    start = next(i for i, line in enumerate(comments) if "ray job submit" in line)
    end = next(i for i, line in enumerate(comments) if i >= start and not line.endswith("\\"))
    return " ".join(line.removesuffix("\\").strip() for line in comments[start : end + 1])


@pytest.mark.parametrize("job", sorted(JOBS.glob("*.yaml")), ids=lambda job: job.stem)
def test_every_job_file_says_how_it_is_submitted(job: Path) -> None:
    words = shlex.split(head_command(job))
    program = words[words.index("--") + 1 :]
    assert program[:3] == ["raykd", program[1], f"jobs/{job.name}"]
    assert program[3:] == ["--root", "$PWD"]
    assert words[words.index("--runtime-env") + 1] == "clusters/runtime-env.yaml"


def test_relative_paths_start_from_the_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeClient([[]], ["SUCCEEDED"], 0)
    monkeypatch.setattr(job_submission, "connect", lambda address: fake)
    shutil.copy(JOBS / "mrpc-kd.yaml", folder / "jobs")
    with pytest.raises(ConfigError, match=r"storage = 'runs' is relative"):
        job_submission.submit("jobs/mrpc-kd.yaml", address=ADDRESS)
    with pytest.raises(ConfigError, match=r"data.train = '\.\./shared/data/mrpc/train.tsv' is not in what is uploaded.*--root"):
        job_submission.submit("jobs/mrpc-kd.yaml", address=ADDRESS, overrides=["storage=/shared/runs"])
    with pytest.raises(ConfigError, match="root = 'here' is relative"):
        job_submission.submit("jobs/mrpc-kd.yaml", address=ADDRESS, root="here")
    assert job_submission.submit("jobs/mrpc-kd.yaml", address=ADDRESS, root="/shared/project") == 0
    assert fake.submitted["entrypoint"] == "raykd run jobs/mrpc-kd.yaml --root /shared/project"
    config = load_job("jobs/mrpc-kd.yaml", root="/shared/project").model_dump()
    assert config["storage"] == "/shared/project/runs"
    assert config["data"]["train"] == ("/shared/shared/data/mrpc/train.tsv",)
    assert config["data"]["labels"] == ("0", "1")
    assert config["student"]["model"] == "/shared/shared/models/review-tiny"
    teachers = load_job(
        "jobs/mrpc-kd.yaml", ["teacher=null", "teachers=[{model: ./t}, {model: t-base}]"], root="/r"
    ).model_dump()
    assert [one["model"] for one in teachers["teachers"]] == ["/r/t", "t-base"]
    hub = load_job("jobs/mrpc-kd.yaml", ["student.model=bert-base", "storage=s3://b/runs"], root="/shared/project")
    assert (hub.student.model, hub.storage) == ("bert-base", "s3://b/runs")


def test_data_in_the_upload_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "rows").mkdir()
    (folder / "rows" / "a.tsv").write_text("x\t0\n")
    fake = FakeClient([[]], ["SUCCEEDED"], 0)
    monkeypatch.setattr(job_submission, "connect", lambda address: fake)
    assert job_submission.submit("jobs/demo.yaml", address=ADDRESS, overrides=["data.train=['rows/*.tsv']"]) == 0


def test_variables_are_named_and_their_values_never_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeClient([[]], ["SUCCEEDED"], 0)
    monkeypatch.setenv("MY_KEY", "key-1")
    monkeypatch.setenv("WANDB_API_KEY", "key-2")
    with pytest.raises(ConfigError, match="takes names, not values: give MY_KEY") as caught:
        run_fake(monkeypatch, fake, env_passthrough=["MY_KEY=key-1"])
    assert "key-1" not in str(caught.value)
    with pytest.raises(ConfigError, match="there is no variable MY_KEX"):
        run_fake(monkeypatch, fake, env_passthrough=["MY_KEX"])
    run_fake(monkeypatch, fake, env_passthrough=["MY_*"])
    passed = fake.submitted["runtime_env"]["env_vars"]
    assert passed["MY_KEY"] == "key-1"
    assert "WANDB_API_KEY" not in passed


def test_the_path_is_relative_to_the_working_dir(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    fake = FakeClient([[]], ["SUCCEEDED"], 0)
    monkeypatch.setattr(job_submission, "connect", lambda address: fake)
    assert job_submission.submit("work/jobs/demo.yaml", address=ADDRESS, working_dir="work") == 0
    assert fake.submitted["entrypoint"] == "raykd run jobs/demo.yaml"


def test_only_the_named_variables_travel_and_no_key_is_logged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "WANDB_API_KEY": "key-1",
        "AWS_SECRET_ACCESS_KEY": "key-2",
        "AWS_ENDPOINT_URL_S3": "http://x",
        "AWS_PROFILE": "mine",
        "RAY_AUTH_TOKEN": "key-3",
        "HF_TOKEN": "",
    }.items():
        monkeypatch.setenv(name, value)
    fake = FakeClient([[]], ["SUCCEEDED"], 0)
    with caplog.at_level(logging.DEBUG):
        run_fake(monkeypatch, fake)
    env = fake.submitted["runtime_env"].pop("env_vars")
    assert env["WANDB_API_KEY"] == "key-1"
    assert env["AWS_ENDPOINT_URL_S3"] == "http://x"
    assert not {"AWS_PROFILE", "RAY_AUTH_TOKEN", "HF_TOKEN"} & set(env)
    seen = caplog.text + "".join(capsys.readouterr()) + str(fake.submitted)
    assert "WANDB_API_KEY" in caplog.text
    assert not [key for key in ("key-1", "key-2", "key-3") if key in seen]


def test_nothing_travels_when_nothing_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "key-1")
    fake = FakeClient([[]], ["SUCCEEDED"], 0)
    run_fake(monkeypatch, fake, env_passthrough=())
    assert set(fake.submitted["runtime_env"]["env_vars"]) == {"RAY_JOB_STOP_WAIT_TIME_S"}


def test_a_lost_connection_shows_nothing_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job_submission.time, "sleep", lambda seconds: None)
    pieces: list[list[str | Exception]] = [
        ["one\ntw", "o\n", ConnectionError("cut")],
        [RuntimeError("WebSocket connection closed unexpectedly")],
        ["one\n", "two\nthree\n"],
        ["one\ntwo\nthree\nfour\n"],
    ]
    assert run_fake(monkeypatch, FakeClient(pieces, ["RUNNING", "FAILED"], 3)) == 3
    assert capsys.readouterr().out == "raysubmit_1\none\ntwo\nthree\nfour\n"


def test_a_connection_that_died_unnoticed_is_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Mute(FakeClient):
        async def tail_job_logs(self, job_id: str) -> Any:
            yield "one\n"
            await asyncio.sleep(3600)

        def get_job_status(self, job_id: str) -> Any:
            return self.get_job_info(job_id).status

        def get_job_logs(self, job_id: str) -> str:
            return "one\ntwo\n"

    monkeypatch.setattr(job_submission, "QUIET_S", 0.01)
    assert run_fake(monkeypatch, Mute([], ["RUNNING", "RUNNING", "FAILED", "FAILED"], 4)) == 4
    assert capsys.readouterr().out == "raysubmit_1\none\ntwo\n"


def test_a_cluster_that_stays_away_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100_000, 100))
    monkeypatch.setattr(job_submission.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(job_submission.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(
        job_submission.asyncio, "run", lambda awaitable: (awaitable.close(), (_ for _ in ()).throw(ConnectionError("cut")))
    )
    with pytest.raises(ResourceError, match=r"lost sight of raysubmit_1 for 300 s.*running still.*cut"):
        run_fake(monkeypatch, FakeClient([], [], None))


@pytest.mark.parametrize(
    ("end", "code", "expected"), [("SUCCEEDED", 0, 0), ("FAILED", 2, 2), ("FAILED", -9, 137), ("STOPPED", None, 143)]
)
def test_exit_codes(folder: Path, monkeypatch: pytest.MonkeyPatch, end: str, code: int | None, expected: int) -> None:
    assert run_fake(monkeypatch, FakeClient([[]], [end], code)) == expected


def test_a_job_that_never_started_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResourceError, match="raysubmit_1 did not run: setup failed"):
        run_fake(monkeypatch, FakeClient([[]], ["FAILED"], None))


def test_no_wait_prints_the_id_alone(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_fake(monkeypatch, FakeClient([], [], None), wait=False) == 0
    assert capsys.readouterr().out == "raysubmit_1\n"


@pytest.mark.parametrize(
    ("job", "overrides", "message"),
    [
        ("jobs/absent.yaml", [], "cannot read the job file"),
        ("jobs/demo.yaml", ["studnet.seeds=[1]"], "did you mean student"),
        ("jobs/demo.yaml", ["storage=runs"], "storage = 'runs' is relative.*s3://bucket"),
        ("../outside.yaml", [], r"\.\./outside.yaml is not in \., the folder that is uploaded"),
        ("runs/demo.yaml", [], "runs/demo.yaml would not be uploaded"),
        ("ignored.yaml", [], "ignored.yaml would not be uploaded"),
    ],
)
def test_what_cannot_run_there_is_refused_here(folder: Path, job: str, overrides: list[str], message: str) -> None:
    (folder / "runs").mkdir()
    for path in ("../outside.yaml", "runs/demo.yaml", "ignored.yaml"):
        (folder / path).write_text(JOB)
    (folder / ".rayignore").write_text("ignored.yaml\n")
    with pytest.raises(ConfigError, match=message):
        job_submission.submit(job, address="http://127.0.0.1:1", overrides=overrides)


def test_a_meta_kd_job_is_one_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(Path(__file__).parents[2] / "jobs" / "metakd-amazon.yaml", folder / "jobs")
    fake = FakeClient([[]], ["SUCCEEDED"], 0)
    monkeypatch.setattr(job_submission, "connect", lambda address: fake)
    with pytest.raises(ConfigError, match="is relative"):
        job_submission.submit("jobs/metakd-amazon.yaml", address=ADDRESS)
    job_submission.submit("jobs/metakd-amazon.yaml", address=ADDRESS, root="/shared/project")
    assert fake.submitted["entrypoint"].startswith("raykd run jobs/metakd-amazon.yaml")


def test_a_search_is_submitted_as_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = "kind: tune\nname: search\nbase: demo.yaml\nset: {data.test: ['s3://bucket/test.tsv']}\n"
    (folder / "jobs" / "search.yaml").write_text(search)
    fake = FakeClient([[]], ["SUCCEEDED"], 0)
    monkeypatch.setattr(job_submission, "connect", lambda address: fake)
    job_submission.submit("jobs/search.yaml", address=ADDRESS, command="tune", overrides=["trials=3"])
    assert fake.submitted["entrypoint"] == "raykd tune jobs/search.yaml --set trials=3"
    with pytest.raises(ConfigError, match=r"give --set base\.storage"):
        job_submission.submit("jobs/search.yaml", address=ADDRESS, command="tune", overrides=["base.storage=runs"])
    with pytest.raises(ConfigError, match="cannot read the job file"):
        job_submission.submit("jobs/absent.yaml", address=ADDRESS, command="tune")


def test_a_large_folder_is_refused_with_its_largest_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {
        "data/a.tsv": 900,
        "data/b.tsv": 700,
        "models/t/x.bin": 2000,
        "notes": 10,
        "runs/old.bin": 10**6,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * size * 1000)
    monkeypatch.setattr(upload, "UPLOAD_LIMIT", 3_500_000)
    with pytest.raises(
        ConfigError, match=r"holds 3\.6 MB .* limit is 3\.5 MB; largest: models/t 2\.0 MB, data/a\.tsv 0\.9 MB.*\.rayignore"
    ):
        upload.check_upload(".")
    (folder / ".rayignore").write_text("models\n")
    assert folder / "data" / "a.tsv" in upload.check_upload(".")


def test_what_is_counted_is_what_ray_packs(folder: Path, tmp_path: Path) -> None:
    from ray._private.ray_constants import get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import create_package

    names = [
        *("a.py", ".env", "key.pem", ".git/objects/1", ".venv/bin/python", "wandb/x", "sub/wandb/x", "sub/runs/y", "runs/y"),
        *("pkg.egg-info/z", "sub/__pycache__/c.pyc", "deep/.gitignore", "deep/cache/1", "deep/kept", "ignored/1", "build/1"),
    ]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "deep" / ".gitignore").write_text("cache\n")
    (folder / ".rayignore").write_text("/ignored\n")
    package = tmp_path / "package.zip"
    create_package(
        str(folder), package, include_gitignore=True, excludes=[*get_runtime_env_default_excludes(), *upload.EXCLUDES]
    )
    packed = {folder / name for name in zipfile.ZipFile(package).namelist() if not name.endswith("/")}
    assert upload.check_upload(".") == packed
    expected = {"a.py", "sub/wandb/x", "sub/runs/y", "deep/.gitignore", "deep/kept", ".rayignore", "jobs/demo.yaml"}
    assert packed == {folder / name for name in expected}


def test_excludes_are_those_of_the_pasted_command() -> None:
    runtime_env = yaml.safe_load((Path(__file__).parents[2] / "clusters" / "runtime-env.yaml").read_text())
    assert tuple(runtime_env["excludes"]) == upload.EXCLUDES


def test_a_working_dir_that_is_no_folder(folder: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        upload.check_upload("jobs/demo.yaml")


def test_where_the_token_comes_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.token_header() == {}
    default = Path.home() / ".ray" / "auth_token"
    default.parent.mkdir()
    default.write_text("from-home\n")
    assert client.token_header() == {"Authorization": "Bearer from-home"}
    named = folder / "token"
    named.write_text(" from-path\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(named))
    assert client.token_header() == {"Authorization": "Bearer from-path"}
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-variable")
    assert client.token_header() == {"Authorization": "Bearer from-variable"}
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert client.token_header() == {}


def test_a_token_that_is_announced_and_absent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(ResourceError, match=r"no token in RAY_AUTH_TOKEN or .*auth_token; put the cluster's token"):
        client.token_header()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(folder / "absent"))
    with pytest.raises(ResourceError, match=r"absent cannot be read .*RAY_AUTH_TOKEN_PATH"):
        client.token_header()
    (folder / "empty").write_text("\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(folder / "empty"))
    with pytest.raises(ResourceError, match=r"no token in RAY_AUTH_TOKEN or .*empty"):
        client.token_header()


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "auto", "ray://127.0.0.1:10001", "http://", ""])
def test_an_address_is_the_dashboards(folder: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="give the address of the cluster's dashboard"):
        client.connect(address)


def test_the_address_given_wins_over_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(ResourceError, match=r"cannot reach http://127\.0\.0\.1:1: .*8265"):
        client.connect("http://127.0.0.1:1")
    assert os.environ["RAY_ADDRESS"] == "10.0.0.1:6379"
    assert "RAY_API_SERVER_ADDRESS" not in os.environ


def test_silence_is_not_waited_for_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REQUEST_LIMIT_S", 0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(ResourceError, match=r"cannot reach http://127.0.0.1:\d+: .*timed out"):
            client.connect(f"http://127.0.0.1:{listener.getsockname()[1]}")


def test_a_token_in_the_clear_is_warned_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "sesame")
    monkeypatch.setattr(client, "_client_class", lambda: lambda address, headers: headers)
    client.connect(ADDRESS)
    client.connect("https://ray.example.org")
    assert not caplog.records
    assert client.connect("http://ray.example.org") == {"Authorization": "Bearer sesame"}
    assert "unencrypted" in caplog.text
    assert "sesame" not in caplog.text
