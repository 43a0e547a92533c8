"""Memory of freed tensors is used again without page faults."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from raykd.models.freed_memory import keep_freed_memory
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
