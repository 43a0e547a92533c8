"""Benchmarks start, and the state of the fault campaign is read as it was written."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.faults import read_rounds

ROOT = Path(__file__).parents[3]
PRINTS_HELP = """
import contextlib, importlib, io, sys
for name in sys.argv[1:]:
    module = importlib.import_module(f"benchmarks.{name}")
    if not hasattr(module, "main"):
        continue
    sys.argv = [name, "--help"]
    try:
        with contextlib.redirect_stdout(io.StringIO()) as text:
            module.main()
    except SystemExit as end:
        assert end.code == 0
        assert text.getvalue().startswith("usage"), text.getvalue()
        print(name)
"""


def test_every_benchmark_prints_its_options() -> None:
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")
    done = subprocess.run(
        [sys.executable, "-c", PRINTS_HELP, *names], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [name for name in names if name not in ("fault_kinds", "footprints")]


def test_an_interrupted_round_of_faults_is_made_again(tmp_path: Path) -> None:
    lines = [
        {"round": 0, "begins": "processes"},
        {"round": 0, "kind": "data task"},
        {"round": 0, "survived": True, "error": None, "seconds": 9.0},
        {"round": 1, "begins": "nodes"},
        {"round": 1, "kind": "node", "step": 7, "seconds": 2.0, "repeated": 3},
        {"round": 1, "begins": "nodes"},
        {"round": 1, "kind": "node", "step": 8, "seconds": 2.0, "repeated": 1},
    ]
    state = tmp_path / "faults.jsonl"
    assert read_rounds(state) == {}
    state.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rounds = read_rounds(state)
    assert (rounds[0].survived, [fault["kind"] for fault in rounds[0].faults]) == (True, ["data task"])
    assert (rounds[1].survived, [fault["step"] for fault in rounds[1].faults]) == (None, [8])
