"""What stops the fork server from forking."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


def run(lines: str) -> str:
    """Output of a process of its own: these tests fork, and import Ray."""
    return subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True).stdout.strip()


def test_forks_draw_other_numbers_after_the_imports_of_ray() -> None:
    assert run("from raykd.fork_server.server import draw_alike, import_ray; import_ray(); print(draw_alike())") == "False"


def test_a_number_that_an_import_draws_is_noticed() -> None:
    lines = "import ray; from raykd.fork_server.server import draw_alike; ray.UniqueID.from_random(); print(draw_alike())"
    assert run(lines) == "True"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("", ""),
        ("threading.Thread(target=threading.Event().wait, name='watcher', daemon=True).start()", "the thread watcher"),
        ("import torch; torch.cuda.is_initialized = lambda: True", "has started CUDA"),
        ("asked = {'HF_HOME': '/b', 'RAY_JOB_ID': '1', 'X': '2'}", "other values of HF_HOME, X"),
    ],
)
def test_a_reason_not_to_fork_is_named(lines: str, reason: str) -> None:
    start = "import threading; from raykd.fork_server.server import _refusal; own = asked = {'HF_HOME': '/a'}"
    assert reason in run(f"{start}\n{lines}\nprint(_refusal(own, asked))")
    assert bool(reason) == bool(run(f"{start}\n{lines}\nprint(_refusal(own, asked))"))
