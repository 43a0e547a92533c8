"""Jobs submitted to a cluster: their commands, variables, logs and exit codes."""

import asyncio
import logging
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raykd.config import load_job
from raykd.errors import ConfigError, ResourceError
from raykd.submit import job_submission
from tests.unit.submit.job_files import JOB, head_command

ADDRESS = "http://127.0.0.1:8265"


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


JOBS = Path(__file__).parents[3] / "jobs"


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


def test_rays_notice_before_the_output_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job_submission.time, "sleep", lambda seconds: None)
    notice = "2026-11-28 10:00:00,000\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
    pieces: list[list[str | Exception]] = [[notice, f"one\n{notice}", ConnectionError("cut")], [f"{notice}one\n{notice}two\n"]]
    assert run_fake(monkeypatch, FakeClient(pieces, ["SUCCEEDED"], 0)) == 0
    assert capsys.readouterr().out == f"raysubmit_1\none\n{notice}two\n"


@pytest.mark.parametrize(("variable", "option"), [(None, f" --address {ADDRESS}"), (ADDRESS, "")])
def test_an_interrupted_client_prints_commands_that_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str | None, option: str
) -> None:
    class Interrupted(FakeClient):
        def get_job_info(self, job_id: str) -> Any:
            raise KeyboardInterrupt

    if variable is not None:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", variable)
    assert run_fake(monkeypatch, Interrupted([[]], [], None)) == 130
    assert capsys.readouterr().err == (
        f"raykd: raysubmit_1 keeps running; `raykd status raysubmit_1{option}` shows its state, "
        f"`raykd stop raysubmit_1{option}` ends it\n"
    )


def test_a_cluster_that_stays_away_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100_000, 100))
    monkeypatch.setattr(job_submission.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(job_submission.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(
        job_submission.asyncio, "run", lambda awaitable: (awaitable.close(), (_ for _ in ()).throw(ConnectionError("cut")))
    )
    with pytest.raises(
        ResourceError, match=r"no answer about raysubmit_1 for 300 s.*still run.*cut.*raykd status raysubmit_1 --address http"
    ):
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
    shutil.copy(Path(__file__).parents[3] / "jobs" / "metakd-amazon.yaml", folder / "jobs")
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
