"""The program that Ray starts for each worker."""

import subprocess
import sys

from raykd.fork_server import start_worker


def test_it_imports_the_standard_library_alone() -> None:
    lines = f"""
import runpy, sys
before = {{name.partition(".")[0] for name in sys.modules}}
runpy.run_path({start_worker.__file__!r})
print(sorted({{name.partition(".")[0] for name in sys.modules}} - before - sys.stdlib_module_names))
"""
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
