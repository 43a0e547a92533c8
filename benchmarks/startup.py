"""Time line of a command up to its first training step: each process, its imports and what it waits for.

    python -m benchmarks.startup [--rows 2000] [--imports]

A distillation of SST-2 rows through ``raykd run``, from nothing, stopped after the first history of its teacher's training.
Each process is listed with the time of its start, so gaps are waits. ``--imports`` prints instead the imports of the modules
that the processes begin with, in processor seconds of a fresh process each. Wall-clock depends on the machine: run it on a
quiet one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

SHARED = Path(__file__).resolve().parents[2] / "shared"
PROCESSES = {
    "raykd --help": "raykd.cli",
    "driver, job file": "raykd.config",
    "driver, run": "raykd.distill.pipeline",
    "training worker": "raykd.run.worker",
    "prediction actor": "raykd.predict.scorer",
    "data task": "raykd.data.step_stream",
}
FIRST_MODEL = """
from transformers.models.bert.modeling_bert import BertForSequenceClassification
from raykd.trainers.engines.deepspeed_engine import import_deepspeed
import torch
import_deepspeed(torch.device("cpu"))
"""
SHOWN = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--imports", action="store_true")
    options = parser.parse_args(arguments)
    for line in import_lines() if options.imports else time_line(options.rows):
        print(line)
    return 0


def import_lines() -> list[str]:
    """Processor seconds and slowest packages of each process's imports."""
    lines = []
    programs = {name: f"import {module}" for name, module in PROCESSES.items()}
    programs["training worker, first model"] = "import raykd.run.worker" + FIRST_MODEL
    for name, program in programs.items():
        seconds, packages = imports_of(program)
        slowest = sorted(packages.items(), key=lambda item: -item[1])[:SHOWN]
        lines.append(f"{name:<30}{seconds:6.2f} s   {', '.join(f'{package} {spent:.2f}' for package, spent in slowest)}")
    return lines


def imports_of(program: str) -> tuple[float, dict[str, float]]:
    """Processor seconds of a program's imports, and seconds of each package's own modules by ``-X importtime``."""
    timed = f"import time\nbegan = time.process_time()\n{program}\nprint(time.process_time() - began)"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", timed], capture_output=True, text=True, check=True)
    packages: dict[str, float] = {}
    for line in done.stderr.splitlines():
        own, _, name = line.removeprefix("import time:").partition("|")
        if line.startswith("import time:") and own.strip().isdigit():
            package = name.rpartition("|")[2].strip().partition(".")[0]
            packages[package] = packages.get(package, 0.0) + int(own) / 1e6
    return float(done.stdout.splitlines()[-1]), packages


def time_line(rows: int) -> list[str]:
    """Seconds after the command's start at which each process of it began, and the first step was recorded."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "raykd.cli", "run", _job(Path(folder), rows), "--stage", "teacher"]
        began = time.time()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seen: dict[int, tuple[float, str, float]] = {}
        try:
            _watch(process.pid, seen, lambda: process.poll() is not None or _first_step(Path(folder)) is not None)
            first = _first_step(Path(folder))
        finally:
            process.terminate()
            process.wait()
    lines = [
        f"{start - began:6.1f} s   {name:<40} {used:6.1f} processor seconds" for start, name, used in sorted(seen.values())
    ]
    return [*lines, f"{first - began:6.1f} s   first history of a training" if first else "no training began; see raykd run"]


def _watch(command: int, seen: dict[int, tuple[float, str, float]], ended: Callable[[], bool]) -> None:
    """Note every process below the command until ``ended``."""
    while not ended():
        try:
            root = psutil.Process(command)
            processes = [root, *root.children(recursive=True)]
        except psutil.Error:
            return
        for process in processes:
            try:
                name = " ".join(process.cmdline()[:2])[-40:] or process.name()
                seen[process.pid] = process.create_time(), name, sum(process.cpu_times()[:2])
            except psutil.Error:  # it has ended meanwhile
                continue
        time.sleep(0.1)  # finer than the seconds that are printed


def _first_step(folder: Path) -> float | None:
    """Time at which the first history with a step of a training was written."""
    for file in folder.rglob("history.jsonl"):
        if any(json.loads(line)["event"] == "train" for line in file.read_text(encoding="utf-8").splitlines()):
            return file.stat().st_mtime
    return None


def _job(folder: Path, rows: int) -> str:
    lines = (SHARED / "data/sst2/train.tsv").read_text(encoding="utf-8").split("\n")[:rows]
    (folder / "train.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    training = {"epochs": 1, "batch_size": 32, "evaluate_every": 1, "max_steps": 2}
    job: dict[str, Any] = {
        "name": "startup",
        "storage": str(folder),
        "data": {
            "input_schema": "text:str:1,label:str:1", "first_sequence": "text", "label": "label", "labels": ["0", "1"],
            "train": [str(folder / "train.tsv")], "validation": 0.05, "test": [str(SHARED / "data/sst2/dev.tsv")],
        },
        "teacher": {"model": str(SHARED / "models/review-mini"), "training": training},
        "student": {"model": str(SHARED / "models/review-tiny"), "training": training},
    }  # fmt: skip
    file = folder / "job.yaml"
    file.write_text(json.dumps(job), encoding="utf-8")  # JSON is YAML
    return str(file)


if __name__ == "__main__":
    sys.exit(main())
