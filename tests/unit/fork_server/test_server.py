"""Reasons for which the fork server does not fork."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


def run(lines: str) -> str:
    """Output of a process of its own: these tests fork, and import Ray."""
    return subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True).stdout.strip()


UNFIT = "import ray; from raykd.fork_server.server import import_ray, unfit_for_forks; {lines}; print(unfit_for_forks())"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("import_ray()", ""),
        ("ray.UniqueID.from_random()", "has drawn one of Ray's random numbers"),
        ("import torch; torch.cuda._is_in_bad_fork = lambda: True", "has started CUDA"),
    ],
)
def test_a_process_whose_forks_would_not_work_is_noticed(lines: str, reason: str) -> None:
    found = run(UNFIT.format(lines=lines))
    assert reason in found
    assert bool(reason) == bool(found)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("", ""),
        ("threading.Thread(target=threading.Event().wait, name='watcher', daemon=True).start()", "the thread watcher"),
        ("asked = {'HF_HOME': '/b', 'RAY_JOB_ID': '1', 'PL_DISABLE_FORK': '1', 'X': '2'}", "other values of HF_HOME, X"),
    ],
)
def test_a_reason_not_to_fork_is_named(lines: str, reason: str) -> None:
    start = "import threading; from raykd.fork_server.server import _refusal; own = asked = {'HF_HOME': '/a'}"
    assert reason in run(f"{start}\n{lines}\nprint(_refusal(own, asked))")
    assert bool(reason) == bool(run(f"{start}\n{lines}\nprint(_refusal(own, asked))"))
