"""The recipe of jobs/label-budget-sst2.yaml by raykd and by TextBrewer: wall-clock and accuracy of both.

    python -m benchmarks.textbrewer_recipe [--rows N] [--folder DIR]

The teacher is fine-tuned on 1,000 labelled rows of SST-2, and a student of three of its layers learns from its logits on
all rows for an epoch; one seed. raykd runs the job's variant ``kd``. TextBrewer gets the same rows: the labelled ones for
its teacher, which Hugging Face's Trainer fine-tunes, and all for its student. It weighs labels alike in all rows, so that
its student has the teacher's term alone. It is installed into DIR/site, not into raykd's environment. raykd also evaluates
its validation set, while TextBrewer keeps the last weights. The result of a side is kept in DIR: the same command runs what
is missing. ``--rows`` takes the first rows of the training file, with half of them labelled where there are fewer than
2,000.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import PROGRAMS, SHARED, install_peers
from raykd.config import ExperimentConfig, TeacherConfig, load
from raykd.data.tokenised_set import TokenisedSet

JOB = Path(__file__).resolve().parents[1] / "jobs/label-budget-sst2.yaml"
LABELS = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both sides, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="training rows to use; all unless given")
    parser.add_argument("--folder", default="textbrewer")
    options = parser.parse_args(arguments)
    folder = Path(options.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    install_peers(folder / "site")
    train = _training_file(folder, options.rows)
    overrides = _overrides(folder, train, options.rows)
    job = load(JOB, overrides)
    results = {
        "raykd": _finished(folder / "raykd.json", lambda: run_raykd(folder, overrides)),
        "TextBrewer": _finished(folder / "textbrewer.json", lambda: run_textbrewer(folder, train, job)),
    }
    lines = ["| side | seconds | teacher accuracy % | student accuracy % |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {side} | {one['seconds']:.0f} | {100 * one['teacher']:.1f} | {100 * one['student']:.1f} |"
        for side, one in results.items()
    ]
    print("\n".join(lines))
    return 0


def _training_file(folder: Path, rows: int | None) -> Path:
    whole = SHARED / "data/sst2/train.tsv"
    if rows is None:
        return whole
    path = folder / f"train-{rows}.tsv"
    path.write_text("\n".join(whole.read_text(encoding="utf-8").split("\n")[:rows]) + "\n", encoding="utf-8")
    return path


def _overrides(folder: Path, train: Path, rows: int | None) -> list[str]:
    labels = LABELS if rows is None else min(LABELS, rows // 2)
    return [
        "name=recipe", f"storage={folder / 'runs'}", f"data.train=[{train}]", f"data.test=[{SHARED / 'data/sst2/dev.tsv'}]",
        f"teacher.model={SHARED / 'models/minilm-l6'}", f"student.model={SHARED / 'models/minilm-l6'}",
        f"data.label_budget={labels}", "student.variants={kd: {}}", "student.against=null", "student.seeds=[1]",
    ]  # fmt: skip


def _finished(path: Path, run: Any) -> dict[str, float]:
    """The result of a side, which is made once."""
    if not path.is_file():
        path.write_text(json.dumps(run()), encoding="utf-8")
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return found


def run_raykd(folder: Path, overrides: Sequence[str]) -> dict[str, float]:
    """Seconds and accuracies of ``raykd run``."""
    shutil.rmtree(folder / "runs", ignore_errors=True)  # of a run that was interrupted: the time is that of a whole one
    command = [sys.executable, "-m", "raykd.cli", "run", str(JOB)]
    seconds = _timed(
        [*command, *(part for one in overrides for part in ("--set", one))], dict(os.environ), folder / "raykd.log"
    )
    systems = json.loads((folder / "runs/recipe/report/report.json").read_text(encoding="utf-8"))["systems"]
    accuracies = {one["role"]: one["metrics"]["accuracy"]["mean"] for one in systems}
    return {"seconds": seconds, **accuracies}


def run_textbrewer(folder: Path, train: Path, job: ExperimentConfig) -> dict[str, float]:
    """Seconds and accuracies of TextBrewer on the rows that raykd read."""
    lines = train.read_text(encoding="utf-8").split("\n")
    files = {}
    for name, task in (("labelled", "teacher"), ("all", "students/kd-seed1")):
        settings = json.loads((folder / "runs/recipe" / task / "task.json").read_text(encoding="utf-8"))
        chosen = TokenisedSet.open(settings["train"])
        rows = [row for group in range(len(chosen.group_rows)) for row in chosen.read_group(group, ["row"])["row"].to_pylist()]
        files[name] = folder / f"{name}.tsv"
        files[name].write_text("".join(f"{lines[row]}\n" for row in rows), encoding="utf-8")
    assert isinstance(job.teacher, TeacherConfig)
    init, training = job.student.init, job.student.training
    command = [
        sys.executable, str(PROGRAMS), "textbrewer-dynamic", "--train", str(files["all"]), "--labelled", str(files["labelled"]),
        "--test", str(SHARED / "data/sst2/dev.tsv"), "--teacher", job.teacher.model, "--student", job.student.model,
        "--layers", *map(str, (init.layers if init is not None else None) or ()), "--length", str(job.data.sequence_length),
        "--epochs", str(job.teacher.training.epochs), str(training.epochs),
        "--rates", str(job.teacher.training.learning_rate), str(training.learning_rate),
    ]  # fmt: skip
    threads = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": str(os.cpu_count() or 1)}
    environment = os.environ | {"PYTHONPATH": str(folder / "site")} | threads
    seconds = _timed(command, environment, folder / "textbrewer.log")
    printed = (folder / "textbrewer.log").read_text(encoding="utf-8").splitlines()
    found = json.loads(next(line for line in reversed(printed) if line.startswith("{")))
    return {"seconds": seconds, "teacher": found["teacher"], "student": found["student"][0]}


def _timed(command: Sequence[str], environment: dict[str, str], log: Path) -> float:
    """Seconds of a command; its output goes to ``log``. Raises CalledProcessError."""
    with log.open("w", encoding="utf-8") as file:
        started = time.monotonic()
        subprocess.run(command, env=environment, stdout=file, stderr=subprocess.STDOUT, check=True)
        return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
