"""Costs that grow with workers, files and rows: starts, steps, preparation and reading, with a model that computes nothing.

    python -m benchmarks.scaling [--workers 1 2 4 8] [--steps 300] [--folder DIR]

All workers are on this machine, with the torch engine: what is measured is what raykd, Ray and the collectives add. More
workers than cores share them, which makes figures an upper bound: a real cluster has a core for each. Each number of workers is
written to DIR/results.jsonl: the same command continues. Three tables without Ray follow: what every worker does with the
manifest and the row groups of a prepared set before its first row; how fast a worker reads rows of which it keeps one in so
many; and what a file costs in preparation.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.config import ComputeConfig, FineTuneConfig, TorchEngineConfig, TrainingConfig
from raykd.data.batch_plan import BatchPlan
from raykd.data.planned_reader import PlannedReader, ReadRequest
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.ray_map import run_job
from raykd.data.tokenised_set import TokenisedSet
from raykd.run.task import TaskInputs, TaskLabels, make_task, model_folder
from raykd.run.worker_group import WorkerGroup
from raykd.session import start_ray, stop_ray
from raykd.task_kinds import SINGLE_LABEL
from raykd.trainers.events import StepMetrics, TrainingEvent

ROWS, BATCH, LENGTH = 100_000, 64, 64
PART_ROWS = 40_000
"""Rows of 100 bytes in one chunk of 4 MB, which makes one part."""
LABELS = ("0", "1")
TASKS = 500
WORDS = [f"word{number}" for number in range(200)]


def main() -> None:
    """Measure the numbers of workers that have no result yet; print all."""
    options = _options()
    os.environ["OMP_NUM_THREADS"] = "1"
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    results = _results(folder)
    todo = [workers for workers in options.workers if workers not in results]
    model, prepared = _data(folder)
    if todo:
        start_ray(num_cpus=max(todo) + 1)
        (folder / "tasks.json").write_text(json.dumps(_tasks_per_second()))
        for workers in todo:
            one = {"workers": workers, **_measure(model, prepared, workers, options.steps)}
            with (folder / "results.jsonl").open("a") as file:
                file.write(json.dumps(one) + "\n")
            print(f"{workers} workers measured", file=sys.stderr, flush=True)
        stop_ray()
    _print([_results(folder)[workers] for workers in options.workers])
    print(f"\njobs of Ray Data: {json.loads((folder / 'tasks.json').read_text()):.0f} tasks/s that do nothing")
    _print_plan(folder, prepared)
    _print_reading(prepared)
    _print_files(folder, model)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--folder", default="runs/scaling")
    return parser.parse_args()


def _results(folder: Path) -> dict[int, dict[str, Any]]:
    file = folder / "results.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return {one["workers"]: one for one in map(json.loads, lines)}


def _data(folder: Path) -> tuple[str, TokenisedSet]:
    from transformers import BertTokenizerFast

    from raykd.models import ModelShape, build_classifier, save_classifier

    model = str(folder / "model")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = BertTokenizerFast(vocab={piece: index for index, piece in enumerate(pieces)}, model_max_length=LENGTH)
    shape = ModelShape(vocab_size=len(pieces), hidden=4, layers=1, heads=1, positions=LENGTH)
    save_classifier(build_classifier(shape, labels=LABELS, seed=1), tokenizer, model)
    draw = np.random.default_rng(1)
    rows = folder / "rows.tsv"
    if not rows.exists():
        words, labels = draw.choice(WORDS, (ROWS, 6)), draw.integers(2, size=ROWS)
        rows.write_text("".join(f"{' '.join(row)}\t{label}\n" for row, label in zip(words, labels, strict=True)))
    return model, prepare(_spec((str(rows),), model), str(folder / "cache"))


def _spec(files: tuple[str, ...], model: str) -> PrepareSpec:
    return PrepareSpec(
        files=files, input_schema="text:str:1,label:str:1", first_sequence="text", second_sequence=None, label="label",
        skip_header=False,
        codec=SINGLE_LABEL.label_codec(LABELS), sequence_length=LENGTH, max_rejected_rows=0, tokenizer=model, keep=None,
    )  # fmt: skip


def _measure(model: str, prepared: TokenisedSet, workers: int, steps: int) -> dict[str, float]:
    """Seconds of a start and of a step."""
    compute = ComputeConfig(num_workers=workers, engine=TorchEngineConfig(), precision="fp32")
    training = TrainingConfig(epochs=1000, max_steps=steps, batch_size=BATCH, learning_rate=1e-3, log_every=1)
    seconds: dict[int, float] = {}
    first: list[float] = []

    def on_event(_: str, event: TrainingEvent) -> None:
        # the worker's own clock, since the driver hears of steps in batches: all rows so far over its rows per second
        if isinstance(event, StepMetrics):
            first.append(time.perf_counter())
            if event.rows_per_second:  # none yet at the first step
                seconds[event.step] = event.step * BATCH / event.rows_per_second

    with tempfile.TemporaryDirectory() as folder:
        task = make_task(
            name="student", folder=f"{folder}/student", model=model_folder(model), labels=TaskLabels(LABELS),
            inputs=TaskInputs(prepared, None), objective=FineTuneConfig(), training=training, seed=1, compute=compute,
        )  # fmt: skip
        group = WorkerGroup(compute, storage=f"{folder}/ray", name="scaling")
        began = time.perf_counter()
        try:
            group.run([task], on_event)
        finally:
            group.close()
    third = steps // 3  # the first steps build what is built once
    return {"start_s": first[0] - began, "step_s": (seconds[steps] - seconds[third]) / (steps - third)}


def _tasks_per_second() -> float:
    """Rate at which the driver hands out the chunks of a preparation and takes their results."""
    dict(run_job(str, range(20), in_process=False, to="start processes"))
    began = time.perf_counter()
    dict(run_job(str, range(TASKS), in_process=False, to="do nothing"))
    return TASKS / (time.perf_counter() - began)


def _print(results: list[dict[str, Any]]) -> None:
    print(f"{'workers':>8} {'start, s':>10} {'step, ms':>10}")
    for one in results:
        print(f"{one['workers']:>8} {one['start_s']:>10.1f} {1000 * one['step_s']:>10.2f}")


def _print_plan(folder: Path, prepared: TokenisedSet) -> None:
    """Print the costs before a worker's first row, by number of parts and row groups (2,048 rows each)."""
    print(f"\n{'rows':>14} {'row groups':>11} {'open manifest, ms':>18} {'manifest, MB':>13} {'first window, ms':>17}")
    for rows in (10**6, 10**7, 10**8, 10**9):
        count = rows // PART_ROWS
        groups = (2048,) * (PART_ROWS // 2048) + (PART_ROWS % 2048,)
        parts = tuple(replace(prepared.parts[0], position=position, groups=groups) for position in range(count))
        many = replace(prepared, path=str(folder / f"manifest-{rows}"), parts=parts)
        many.save()
        began = time.perf_counter()
        group_rows = TokenisedSet.open(many.path).group_rows
        opened = time.perf_counter()
        plan = BatchPlan(group_rows, _equal_lengths(group_rows), seed=1, batch_size=256, fingerprint="x")
        plan.window(0, 0)
        ended = time.perf_counter()
        size = Path(many.path, "manifest.json").stat().st_size / 1e6
        times = f"{1000 * (opened - began):>18.1f} {size:>13.1f} {1000 * (ended - opened):>17.1f}"
        print(f"{rows:>14,} {len(group_rows):>11,} {times}")


def _equal_lengths(group_rows: NDArray[np.int64]) -> Callable[[int], NDArray[np.int32]]:
    lengths = np.full(2048, 20, np.int32)
    return lambda group: lengths[: group_rows[group]]


def _print_reading(prepared: TokenisedSet) -> None:
    """Every worker reads all row groups and keeps its slice of each batch."""
    print(f"\n{'workers':>8} {'rows/s read by each':>20} {'rows/s kept':>12}")
    batch = 1024
    for world in (1, 8, 64):
        request = ReadRequest(
            prepared.path,
            (),
            seed=1,
            batch_size=batch,
            window=64,
            rank=0,
            world=world,
            start_step=0,
            stop_step=prepared.num_rows // batch,
        )
        began = time.perf_counter()
        reader = PlannedReader(request)
        kept = sum(table.num_rows for pool in reader.pools() for table in reader.read(pool))
        seconds = time.perf_counter() - began
        print(f"{world:>8} {prepared.num_rows / seconds:>20,.0f} {kept / seconds:>12,.0f}")


def _print_files(folder: Path, model: str) -> None:
    """Preparation of many small files, in this process."""
    print(f"\n{'files':>8} {'prepare, s':>11} {'ms a file':>10}")
    for count in (10, 100, 1000):
        with tempfile.TemporaryDirectory(dir=folder) as work:
            files = [Path(work, f"{number:04d}.tsv") for number in range(count)]
            for number, file in enumerate(files):
                file.write_text(f"word1 word2 {number}\t1\n")
            began = time.perf_counter()
            prepare(_spec(tuple(map(str, files)), model), f"{work}/cache")
            seconds = time.perf_counter() - began
        print(f"{count:>8} {seconds:>11.2f} {1000 * seconds / count:>10.2f}")


if __name__ == "__main__":
    main()
