"""Memory of freed tensors is used again without page faults."""

import os
import platform
import subprocess
import sys

import pytest

from raykd.config import ComputeConfig
from raykd.freed_memory import variables_that_keep_freed_memory
from raykd.run.worker_group import WorkerGroup

PROGRAM = """
import resource, torch
from raykd.freed_memory import keep_freed_memory
kept = KEEP and keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.zeros(12_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux' C library")
def test_large_tensors_take_no_page_faults_once_memory_is_kept() -> None:
    found = {}
    for keep in (True, False):
        program = PROGRAM.replace("KEEP", str(keep))
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
        found[keep] = done.stdout.split()
    if found[True][0] == "False":
        pytest.skip("the C library is not glibc")
    assert int(found[True][1]) < 100
    assert int(found[False][1]) > 10_000, "else the setting is no longer needed"


THREAD = """
import resource, threading, torch
from raykd.freed_memory import return_freed_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
def work():
    found = []
    for _ in range(3):  # what the first two take, the third has
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(5):
            torch.zeros(24_000_000)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    kept = resident()
    return_freed_memory()
    print(found[-1], kept - resident())
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux' C library")
def test_the_variables_keep_the_memory_of_other_threads_until_it_is_returned() -> None:
    """Ray Train trains in a thread, whose arena ends at 64 MiB: there the process's own setting changes nothing."""
    found = []
    for variables in (variables_that_keep_freed_memory(), {}):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | variables
        done = subprocess.run(
            [sys.executable, "-c", THREAD], env=environment, capture_output=True, text=True, timeout=300, check=True
        )
        found.append([int(number) for number in done.stdout.split()])
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("the C library is not glibc")
    (kept_faults, returned), (faults, _) = found
    assert kept_faults < 100
    assert faults > 10_000, "else the variables are no longer needed"
    assert returned > 90_000_000


def test_variables_that_are_set_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert variables_that_keep_freed_memory()["MALLOC_ARENA_MAX"] == "4"


def test_training_workers_have_the_variables() -> None:
    group = WorkerGroup(ComputeConfig(use_gpu=False), storage="/tmp", name="x")
    assert group._build().run_config.worker_runtime_env == {"env_vars": variables_that_keep_freed_memory()}
