"""Benchmarks start, and the state of the fault campaign is read as it was written."""

import json
import subprocess
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from benchmarks import gpu, peers, prediction, startup
from benchmarks.fault_kinds import DisturbedRun
from benchmarks.faults import read_rounds
from benchmarks.gpu_rows import SHAPES

ROOT = Path(__file__).parents[3]
WITHOUT_OPTIONS = {"fault_kinds", "footprints", "gpu_checks", "gpu_loops", "gpu_rows", "input_formats"}
"""Parts of benchmarks."""
PRINTS_HELP = """
import contextlib, importlib, io, sys
for name in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()):  # packages of others may print
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


def test_the_language_model_of_the_prediction_benchmark_is_asked_by_its_prompts(
    small_world: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "rows.tsv").write_text("a film\t1\na plot\t0\n")
    asked, _, prepared = prediction._causal_teacher(Namespace(model=small_world["student"]), str(tmp_path))
    assert (prepared.num_rows, len(asked.answers)) == (2, 2)


def test_the_prediction_benchmark_prints_the_clocks_that_were_read(capsys: pytest.CaptureFixture[str]) -> None:
    nan = float("nan")
    prepared: Any = Namespace(num_rows=10)  # all that is read of a tokenised set
    options = Namespace(causal=False, data="rows.tsv", model="tiny")
    prediction._print([{"1 actor": (10.0, 2.0, nan), "2 actors": (10.0, 1.0, nan)}], prepared, options)
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["rows/s", "of", "1", "actor"],
        ["1", "actor", "5", "1.000"],
        ["2", "actors", "10", "2.000"],
    ]
    prediction._print([{"bare": (10.0, 2.0, 1.0), "whole": (10.0, 4.0, nan)}], prepared, options)
    assert [line.split() for line in capsys.readouterr().out.splitlines()[2:]] == [
        ["bare", "5", "1.000", "10", "1.000"],
        ["whole", "2", "0.500"],
    ]


def test_every_benchmark_prints_its_options() -> None:
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")
    done = subprocess.run(
        [sys.executable, "-c", PRINTS_HELP, *names], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [name for name in names if name not in WITHOUT_OPTIONS]


WRITES = """
import pathlib, sys, time
while True:
    (folder := pathlib.Path(sys.argv[1], ".writing-1")).mkdir()
    time.sleep(0.01)
    folder.rmdir()
    time.sleep(0.01)
"""


@dataclass
class Writer:
    """A run whose one training worker does nothing but write checkpoints."""

    process: psutil.Process

    def processes(self, title: str) -> list[psutil.Process]:
        return [self.process]

    def output(self) -> str:
        return ""


def test_workers_are_stopped_in_the_middle_of_a_write(tmp_path: Path) -> None:
    (tmp_path / ".writing-0").mkdir()  # of an earlier fault
    with subprocess.Popen([sys.executable, "-c", WRITES, str(tmp_path)]) as process:
        try:
            run: Any = Writer(psutil.Process(process.pid))
            (worker,) = DisturbedRun(run, record=lambda _: None)._stop_in_write(tmp_path)
            assert worker.status() == psutil.STATUS_STOPPED
            assert (tmp_path / ".writing-1").is_dir()
        finally:
            process.kill()


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


def test_the_benchmark_of_a_gpu_runs_on_a_cpu_with_tiny_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gpu.json"
    options = ["--device", "cpu", "--tiny", "--seconds", "0", "--batch", "4", "--out", str(file)]
    assert gpu.main(options) == 0
    result = json.loads(file.read_text())
    assert all(check["passed"] for check in result["checks"])
    assert {"bit_for_bit", "bits_repeat_without_a_restart"} <= result["checks"][-1].keys()
    assert "not_measured" not in result
    assert {cell["loop"] for cell in result["cells"]} == {"raykd torch", "raykd deepspeed", "bare", "live teacher", "scoring"}
    assert all(cell["rows_per_second"] > 0 for cell in result["cells"])
    unpadded = {(cell["loop"], cell["dropout"]) for cell in result["cells"] if cell["rows"] == "unpadded"}
    assert unpadded == {("raykd torch", True), ("raykd torch", False), ("scoring", True)}
    assert len([check for check in result["checks"] if "unpadded" in check["check"]]) == 2
    lines = capsys.readouterr().out.splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| tiny")]
    assert len(table) == len(result["cells"])
    assert all((row[9] != "") == (row[3] != "bucketed") for row in table), "each is compared with rows padded to their batch"


def test_measurements_that_no_time_is_left_for_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    assert gpu.main(["--device", "cpu", "--tiny", "--minutes", "0", "--batch", "4", "--out", str(file)]) == 0
    result = json.loads(file.read_text())
    assert (result["cells"], len(result["not_measured"])) == ([], len(list(gpu.cells(["tiny"], compiles=False))))


def test_operations_of_bert_base_at_128_tokens() -> None:
    """Six times the encoder's weights for each token, and 6% for the attention of 128 tokens."""
    per_token = SHAPES["bert-base"].training_flops(np.array([128])) / 128
    assert per_token == pytest.approx(6 * 85e6, rel=0.03)


def test_peers_are_not_compared_on_a_busy_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers.psutil, "cpu_percent", lambda _: 35.0)
    assert peers.main(["--folder", str(tmp_path / "peers")]) == 2
    assert "the processors are 35% busy, at most 10% are allowed" in capsys.readouterr().err
    assert not (tmp_path / "peers").exists()


def test_an_interrupted_comparison_goes_on_and_compares_within_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site").mkdir()
    order: list[tuple[str, int]] = []

    def measured(side: str, work: str, rows: int, folder: Path) -> dict[str, Any]:
        if len(order) == 4:
            raise KeyboardInterrupt
        order.append((side, rows))
        seconds = {"raykd": 30.0, "trainer-cached": 20.0, "textbrewer-static": 60.0}[side] * (1 + len(order) // 4)
        return {"seconds": seconds, "processor_seconds": 1.0, "accuracies": {"student": [0.8]}}

    monkeypatch.setattr(peers, "measure", measured)
    options = ["--folder", str(tmp_path), "--busy-percent", "100", "--rounds", "2", "--rows", "8000", "--work", "student"]
    options += ["--peers", "trainer-cached", "textbrewer-static"]
    with pytest.raises(KeyboardInterrupt):
        peers.main(options)
    first, order[:] = list(order), []
    assert peers.main(options) == 0
    sides = [side for side, _ in [*first, *order]]
    assert sides == ["raykd", "trainer-cached", "textbrewer-static", "textbrewer-static", "trainer-cached", "raykd"]
    line = next(line for line in capsys.readouterr().out.splitlines() if "| raykd |" in line)
    assert "| 2 | 30.0 | 1.0 | 80.0 | 1.50 (1.50 to 1.50) | 1 |" in line


def test_imports_are_counted_by_package() -> None:
    seconds, packages = startup.imports_of("import json, yaml")
    assert 0 < seconds < sum(packages.values()) + seconds
    assert {"json", "yaml"} <= packages.keys()
