"""The command line as a process: exit codes, messages, and what is not imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from raykd import cli
from raykd.errors import ConfigError

JOBS = Path(__file__).parents[2] / "jobs"


def raykd(*arguments: str, code: str = "from raykd.cli import main; main()") -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120)


def test_a_command_ends_without_a_search_for_garbage() -> None:
    """With PyTorch and transformers imported it took 1.3 s."""
    code = "import atexit, gc\natexit.register(lambda: print(gc.get_freeze_count() > 0))\nfrom raykd.cli import main\nmain()"
    assert raykd("--help", code=code).stdout.splitlines()[-1] == "True"


def test_help_imports_neither_torch_nor_ray() -> None:
    code = (
        "import sys\nfrom raykd.cli import main\ntry:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'ray', 'transformers', 'deepspeed', 'pyarrow', 'pydantic', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = raykd("--help", code=code)
    assert result.returncode == 0, result.stderr
    assert "distillation" in result.stdout


REPORTING = {"sklearn", "scipy", "matplotlib", "wandb", "tensorboard", "optuna"}
"""Packages that a report, a tracker or a search needs, and no process before it."""
MODULES = {
    "raykd.config": {"torch", "ray", "transformers", "deepspeed", "pyarrow", "numpy"} | REPORTING,
    "raykd.session": {"torch", "ray", "transformers", "deepspeed", "pandas"} | REPORTING,
    "raykd.distill.pipeline": {"ray", "transformers", "deepspeed", "pandas"} | REPORTING,
    "raykd.metakd.pipeline": {"ray", "transformers", "deepspeed", "pandas"} | REPORTING,
    "raykd.predict.scorer": {"ray", "transformers", "deepspeed", "pandas"} | REPORTING,
    "raykd.run.worker": {"transformers", "deepspeed"} | REPORTING,
}
"""Modules that processes of a run begin with, and packages that these must not import: in an order in which no later module
must do without more than an earlier one, so that one process can import them all."""


def test_a_process_starts_without_what_it_does_not_need() -> None:
    code = f"""
import importlib, sys
for module, unwanted in {MODULES!r}.items():
    importlib.import_module(module)
    print(module, *sorted(unwanted & set(sys.modules)))
"""
    result = raykd(code=code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == list(MODULES)


def test_metrics_of_an_evaluation_need_neither_scikit_learn_nor_scipy() -> None:
    code = (
        "import sys, numpy as np\nfrom raykd.task_kinds import SINGLE_LABEL\n"
        "SINGLE_LABEL.measure(np.array([0, 1]), np.eye(2), ['a', 'b'])\nprint(*sorted({'sklearn', 'scipy'} & set(sys.modules)))"
    )
    result = raykd(code=code)
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr


@pytest.mark.parametrize("job", sorted(JOBS.glob("*.yaml")), ids=lambda path: path.name)
def test_a_dry_run_starts_nothing(job: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom raykd.cli import main\ntry:\n    main()\nfinally:\n    assert not {'torch', 'ray'} & set(sys.modules)"
    )
    command, storage = ("tune", "base.storage") if job.name.startswith("tune-") else ("run", "storage")
    result = raykd(command, str(job), "--dry-run", "--set", f"{storage}={tmp_path}", code=code)
    assert result.returncode == 0, result.stderr
    assert "report.html" in result.stdout or "report.md" in result.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["validate", "absent.yaml"], "cannot read the job file absent.yaml"),
        (["validate", str(JOBS / "sst2-kd.yaml"), "--set", "student.objctive.alpha=1"], "did you mean objective?"),
        (["run", str(JOBS / "sst2-kd.yaml"), "--stage", "teachr"], "stages are teacher, logits"),
        (["run", str(JOBS / "metakd-amazon.yaml"), "--stage", "teacher"], "stages are split, weights"),
        (["run", str(JOBS / "sst2-kd.yaml"), "--set", "data.train=[absent.tsv]"], "absent.tsv"),
    ],
)
def test_what_a_user_can_cause_ends_with_code_2_and_no_traceback(arguments: list[str], expected: str, tmp_path: Path) -> None:
    result = raykd(*arguments, *(["--set", f"storage={tmp_path}"] if arguments[0] == "run" else []))
    assert result.returncode == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["submit", "status", "stop"])
def test_a_missing_address_is_one_sentence(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    result = raykd(command, "jobs/absent.yaml")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"raykd: {command}: --address is missing; give the address of the cluster's dashboard, for example "
        "--address http://127.0.0.1:8265, or set RAY_API_SERVER_ADDRESS\n"
    )


def test_validate_prints_the_resolved_configuration() -> None:
    result = raykd("validate", str(JOBS / "mrpc-kd.yaml"), "--set", "student.objective.temperature=4")
    assert result.returncode == 0, result.stderr
    assert '"temperature": 4.0' in result.stdout


@pytest.mark.parametrize(
    ("job", "run"), [("demo.yaml", "distill.pipeline.run_experiment"), ("metakd-amazon.yaml", "metakd.pipeline.run_meta_kd")]
)
def test_an_interrupted_run_says_how_to_go_on(job: str, run: str) -> None:
    module, _, function = run.rpartition(".")
    code = (
        f"import raykd.{module} as module\ndef stop(*_, **__):\n    raise KeyboardInterrupt\n"
        f"module.{function} = stop\nfrom raykd.cli import main\nmain()"
    )
    result = raykd("run", str(JOBS / job), code=code)
    assert result.returncode == 130
    assert result.stderr == "raykd: interrupted; the same command resumes\n"


HANGS_UP = """
import os, signal, sys
import raykd.distill.pipeline as module

def hang_up(*_, **__):
    try:
        os.kill(os.getpid(), signal.SIGHUP)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGHUP)
        print("checkpoint")
        raise

module.run_experiment = hang_up
signal.signal(signal.SIGHUP, BEFORE)
for descriptor in CLOSED:
    os.close(descriptor)
from raykd.cli import main
main()
"""


@pytest.mark.parametrize("closed", [(), (1, 2)], ids=["open", "closed"])
def test_a_closed_terminal_interrupts_once(closed: tuple[int, ...]) -> None:
    """Shell and kernel both send SIGHUP; the second one comes while the checkpoint is written."""
    code = HANGS_UP.replace("BEFORE", "signal.SIG_DFL").replace("CLOSED", str(closed))
    result = raykd("run", str(JOBS / "demo.yaml"), code=code)
    assert result.returncode == 130, result.stderr
    assert (result.stdout, result.stderr) == (
        ("", "") if closed else ("checkpoint\n", "raykd: interrupted; the same command resumes\n")
    )


def test_nohup_keeps_a_command_running() -> None:
    code = HANGS_UP.replace("BEFORE", "signal.SIG_IGN").replace("CLOSED", "()")
    result = raykd("run", str(JOBS / "demo.yaml"), code=code)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("kind", ["run", "meta_kd", "tune"])
def test_schema_prints_the_checked_in_json_schema(kind: str) -> None:
    result = raykd("schema", kind)
    assert result.returncode == 0, result.stderr
    assert result.stdout == (JOBS.parent / "docs" / "schema" / f"{kind}.json").read_text()


def test_an_unknown_kind_of_schema_is_refused_with_the_known_ones() -> None:
    result = raykd("schema", "tuna")
    assert result.returncode == 2
    assert result.stderr.strip() == "raykd: schema tuna: there is no such kind of job file; kinds are run, meta_kd, tune"


@pytest.mark.parametrize("arguments", [["--data-only"], []])
def test_the_demo_runs_its_job_in_the_folder_given(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import raykd.demo, raykd.distill.pipeline as module\n"
        "raykd.demo.build = lambda folder: __import__('os').makedirs(folder)\n"
        "module.run_experiment = lambda config, **_: print(config.name, config.data.train, config.student.seeds)\n"
        "from raykd.cli import main\nmain()"
    )
    result = raykd("demo", "--folder", str(tmp_path / "new"), *arguments, code=code)
    assert result.returncode == 0, result.stderr
    ran = f"demo ('{tmp_path}/new/train.tsv',) (1, 2, 3)"
    assert (ran in result.stdout) == (not arguments)
    assert (tmp_path / "new" / "job.yaml").is_file()


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["shrink", "model", "--layers", "0", "--out", ""], "--out"),
        (["shrink", "", "--layers", "0", "--out", "small"], "MODEL"),
        (["shrink", "model", "--text", " ", "--out", "small"], "--text"),
        (["export", ""], "DIR"),
        (["push", "", "owner/name"], "DIR"),
        (["serve", "model", "--teacher", ""], "--teacher"),
        (["report", ""], "DIR"),
        (["report", "run", "--page", ""], "--page"),
        (["demo", "--folder", ""], "--folder"),
        (["run", str(JOBS / "demo.yaml"), "--dry-run", "--root", ""], "root"),
        (["validate", ""], "the path of the job file"),
        (["submit", str(JOBS / "demo.yaml"), "--address", "http://127.0.0.1:1", "--working-dir", ""], "--working-dir"),
    ],
)
def test_an_empty_path_is_refused_with_its_option(arguments: list[str], option: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cli.app(arguments, standalone_mode=False)
    assert str(caught.value) == f"{option} is empty; give the path of a file or a folder"


def test_the_home_folder_is_expanded_in_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for command in ("export", "report"):
        assert f"{tmp_path}/absent" in raykd(command, "~/absent").stderr
