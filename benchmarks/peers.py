"""Whole distillations by raykd and by what a user would pick instead: wall-clock, processor seconds, accuracy.

    python -m benchmarks.peers [--rows 2000 8000 32000] [--work student study] [--rounds 3] [--folder DIR]
    python -m benchmarks.peers --rows 500 --work student --rounds 1 --peers trainer-cached       (make bench-smoke)

SST-2: a teacher is fine-tuned for an epoch, its student distilled for three, both evaluated on GLUE's dev set. ``student`` is
one student with KD, ``study`` three seeds with and without it. The peers (benchmarks/peer_programs.py) are installed into
DIR/site with pip, not into raykd's environment. raykd also evaluates 2% of the rows after each epoch; the peers do not. On a
processor that computes in bf16 raykd does so by itself, and of the peers the one that was told to. Every side starts from
nothing, is a process of its own with as many threads as there are cores, and takes its turn in each round, so that the machine
drifts for all alike; ratios are those of one round. Each run is written to DIR/runs.jsonl at once: the same command goes on
where it stopped. Refuses to start, exit code 2, where other programs use more than a tenth of the processors: torch's threads
wait for each other on a busy machine, the peers' longest of all.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from raykd.data import storage

SHARED = Path(__file__).resolve().parents[2] / "shared"
PROGRAMS = Path(__file__).with_name("peer_programs.py")
PEERS = ("trainer-online", "trainer-cached", "trainer-cached-bf16", "textbrewer-dynamic", "textbrewer-static")
PACKAGES = ("accelerate", "textbrewer")
"""Installed without their dependencies: torch and transformers are those of raykd's environment, the same for all sides."""
SEEDS = {"student": [1], "study": [1, 2, 3]}
AIMS = {
    ("student", 2000): 1.5, ("student", 8000): 1.0, ("student", 32000): 0.9, ("study", 8000): 0.7, ("study", 32000): 0.6,
}  # fmt: skip
"""Wall-clock of raykd divided by that of the fastest peer."""
BUSY_PERCENT, LOOK_S = 10.0, 5.0
MARK = "RAYKD_BENCHMARK_RUN"
"""Variable of the environment that names the run that a process belongs to."""
Run = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is left, and print."""
    options = _options(arguments)
    if options.busy_percent < 100 and (busy := psutil.cpu_percent(LOOK_S)) > options.busy_percent:
        print(f"the processors are {busy:.0f}% busy, at most {options.busy_percent:g}% are allowed; end the other programs, "
              "then start this again", file=sys.stderr)  # fmt: skip
        return 2
    folder = Path(options.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    install_peers(folder / "site")
    done = _read(folder)
    for round_, work, rows, side in _plan(options):
        key = {"round": round_, "work": work, "rows": rows, "side": side}
        if not any(key.items() <= run.items() for run in done):
            print(f"round {round_ + 1}: {work}, {rows} rows, {side} ...", file=sys.stderr)
            done.append(key | measure(side, work, rows, folder))
            with (folder / "runs.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[-1]) + "\n")
    print(table(done))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[2000, 8000, 32000])
    parser.add_argument("--work", nargs="+", choices=list(SEEDS), default=list(SEEDS))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default="peers")
    parser.add_argument(
        "--busy-percent", type=float, default=BUSY_PERCENT, help="100 starts on any machine; figures mean nothing"
    )
    return parser.parse_args(arguments)


def _plan(options: argparse.Namespace) -> Iterator[tuple[int, str, int, str]]:
    """Rounds of all sides; every other round begins with the last side."""
    sides = ["raykd", *options.peers]
    for round_, work, rows in itertools.product(range(options.rounds), options.work, options.rows):
        yield from ((round_, work, rows, side) for side in (sides if round_ % 2 == 0 else sides[::-1]))


def install_peers(site: Path) -> None:
    """Install the peers' packages into a folder, unless it is there."""
    if site.is_dir():
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), *PACKAGES]
    subprocess.run(command, check=True)


def _read(folder: Path) -> list[Run]:
    file = folder / "runs.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def measure(side: str, work: str, rows: int, folder: Path) -> Run:
    """Seconds, processor seconds of all its processes, and accuracies of one run from nothing."""
    train = folder / f"train-{rows}.tsv"
    if not train.is_file():
        lines = (SHARED / "data/sst2/train.tsv").read_text(encoding="utf-8").split("\n")[:rows]
        train.write_text("\n".join(lines) + "\n", encoding="utf-8")
    scratch = folder / f"run-{uuid.uuid4().hex}"
    scratch.mkdir()
    command = raykd_command(work, train, scratch) if side == "raykd" else peer_command(side, work, train)
    mark = uuid.uuid4().hex
    environment = os.environ | {MARK: mark, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": str(os.cpu_count() or 1)}
    if side == "raykd":
        del environment["OMP_NUM_THREADS"]  # its workers have compute.cpus_per_worker threads
    else:
        environment["PYTHONPATH"] = str(folder / "site")
    with _ProcessorSeconds(mark) as used, (scratch / "log.txt").open("w", encoding="utf-8") as log:
        began = time.perf_counter()
        process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, check=False)
        seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}; see {scratch}/log.txt")
    accuracies = _raykd_accuracies(scratch) if side == "raykd" else json.loads(process.stdout.splitlines()[-1])
    storage.remove(str(scratch))
    return {"seconds": seconds, "processor_seconds": used.seconds, "accuracies": accuracies}


def raykd_command(work: str, train: Path, scratch: Path) -> list[str]:
    """``raykd run`` of a job file that is written into ``scratch``."""
    job = {
        "name": "run",
        "storage": str(scratch),
        "data": {
            "input_schema": "text:str:1,label:str:1", "first_sequence": "text", "label": "label", "labels": ["0", "1"],
            "train": [str(train)], "validation": 0.02, "test": [str(SHARED / "data/sst2/dev.tsv")], "sequence_length": 128,
        },
        "teacher": {
            "model": str(SHARED / "models/review-mini"),
            "training": {"epochs": 1, "batch_size": 32, "learning_rate": 1e-4},
        },
        "student": {
            "model": str(SHARED / "models/review-tiny"),
            "seeds": SEEDS[work],
            "objective": {"kind": "vanilla_kd", "temperature": 2.0, "alpha": 0.9},
            "training": {"epochs": 3, "batch_size": 32, "learning_rate": 5e-4},
        } | ({"variants": {"kd": {}}} if work == "student" else {}),
        "compute": {"cpus_per_worker": os.cpu_count() or 1, "prediction_actors": 1},
    }  # fmt: skip
    file = scratch / "job.yaml"
    file.write_text(yaml.safe_dump(job), encoding="utf-8")
    return [sys.executable, "-m", "raykd.cli", "run", str(file)]


def peer_command(side: str, work: str, train: Path) -> list[str]:
    """One of the programs of peer_programs.py."""
    command = [sys.executable, str(PROGRAMS), side, "--train", str(train), "--test", str(SHARED / "data/sst2/dev.tsv")]
    command += ["--teacher", str(SHARED / "models/review-mini"), "--student", str(SHARED / "models/review-tiny")]
    return [*command, "--seeds", *map(str, SEEDS[work]), *(["--plain"] if work == "study" else [])]


def _raykd_accuracies(scratch: Path) -> dict[str, Any]:
    report = next(scratch.rglob("report.json"))
    systems = json.loads(report.read_text(encoding="utf-8"))["systems"]
    values = {one["name"]: one["metrics"]["accuracy"]["values"] for one in systems}
    return {"teacher": values["teacher"][0], "student": values["kd"], "plain": values.get("no_kd", [])}


class _ProcessorSeconds:
    """Adds up the processor time of every process with a mark in its environment, also of those that have left their parent."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._of: dict[tuple[int, float], float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_ProcessorSeconds":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """Seconds so far; what a process used after the last look, at most half a second before its end, is missing."""
        return sum(self._of.values())

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            for process in psutil.process_iter():
                try:
                    if process.environ().get(MARK) == self._mark:
                        self._of[process.pid, process.create_time()] = sum(process.cpu_times()[:2])
                except psutil.Error:  # it has ended, or is another user's
                    continue


def table(runs: Sequence[Run]) -> str:
    """Medians as Markdown; ``of fastest peer`` is the median of the ratios of each round."""
    lines = ["| work | rows | side | rounds | seconds | processor seconds | student accuracy % | of fastest peer | aim |"]
    lines += ["| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for work, rows, side in dict.fromkeys((run["work"], run["rows"], run["side"]) for run in runs):
        mine = [run for run in runs if (run["work"], run["rows"], run["side"]) == (work, rows, side)]
        seconds, processor = (statistics.median(run[key] for run in mine) for key in ("seconds", "processor_seconds"))
        accuracy = statistics.mean(itertools.chain(*(run["accuracies"]["student"] for run in mine)))
        ratios = [ratio for run in mine if (ratio := _ratio(run, runs)) is not None]
        shown = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
        aim = f"{AIMS[work, rows]:g}" if side == "raykd" and (work, rows) in AIMS else ""
        figures = f"{len(mine)} | {seconds:.1f} | {processor:.1f} | {100 * accuracy:.1f}"
        lines.append(f"| {work} | {rows:,} | {side} | {figures} | {shown} | {aim} |")
    return "\n".join(lines)


def _ratio(run: Run, runs: Sequence[Run]) -> float | None:
    """Seconds of a run divided by the fastest peer's in the same round."""
    same = ("round", "work", "rows")
    peers = [one["seconds"] for one in runs if one["side"] != "raykd" and all(one[key] == run[key] for key in same)]
    return run["seconds"] / min(peers) if peers else None


if __name__ == "__main__":
    sys.exit(main())
