"""CPU time of a sweep's trials against as many bare training loops over the same planned batches.

    python -m benchmarks.sweep [--rows 5000] [--trials 20] [--concurrency 2] [--loops 20] [--rounds 3] [--folder DIR]

The sweep's side is everything from before the first trial to after the last: this process, the trials' actors with their
start and imports, and Ray's own services. Shared work and the trainings at the end are not in it. The bare side is a PyTorch
loop with the same loss over batches that lie ready in memory, the model's loading included, imports excluded; as many loops
run at a time as trials do, because two threads of one core, or two cores on one memory, slow each other down. One thread
each. Logits are drawn at random: what they say changes no time.

Each round is a process of its own and is written to DIR/rounds.jsonl: the same command continues with the next.
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch

from raykd.config.load_tune import build_tune
from raykd.config.tune import TuneConfig
from raykd.data.batch import Batch, micro_batches
from raykd.data.planned_reader import ReadRequest
from raykd.data.step_stream import local_feed
from raykd.data.tokenised_set import TokenisedSet
from raykd.losses import cross_entropy, soft_target_kl
from raykd.models import load_classifier
from raykd.progress import Terminal
from raykd.trainers.optimizer import adamw
from raykd.trainers.schedule import learning_rate
from raykd.tune.driver import Search
from raykd.tune.jobs.distill_job import DistillationPlan

SHARED = Path(__file__).resolve().parents[2] / "shared"
BATCH, RATE, LENGTH = 32, 5e-4, 128
POLL_S = 1.0
SIDES = ("this process", "trials' actors", "other workers", "Ray's services")
TRIAL = re.compile("Trial|ResourceTr")
"""Names of Ray Tune's actors, before and after they are given resources."""
SETTINGS = ("rows", "trials", "concurrency", "loops", "data", "model")


def main() -> None:
    """Measure the rounds that are left, and print."""
    options = _options()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    if options.one:
        print(json.dumps(_round(options)))
        return
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    while len(done := _done(folder, options)) < options.rounds:
        print(f"round {len(done) + 1} of {options.rounds} ...", file=sys.stderr)
        output = subprocess.run([*sys.orig_argv, "--one"], check=True, stdout=subprocess.PIPE, text=True).stdout
        with (folder / "rounds.jsonl").open("a") as file:
            file.write(output.splitlines()[-1] + "\n")
    _print(options, done)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--loops", type=int, default=20, help="bare loops to measure; fewer are scaled up")
    parser.add_argument("--rounds", type=int, default=3, help="rounds to make, those of earlier calls included")
    parser.add_argument("--folder", default="runs/sweep", help="where the rounds are written to")
    parser.add_argument("--data", default=str(SHARED / "data/sst2/train.tsv"), help="TSV of text and label 0 or 1")
    parser.add_argument("--model", default=str(SHARED / "models/review-tiny"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _done(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rounds with these settings."""
    file = folder / "rounds.jsonl"
    rounds = map(json.loads, file.read_text().splitlines() if file.exists() else [])
    return [one for one in rounds if all(one[name] == getattr(options, name) for name in SETTINGS)]


def _print(options: argparse.Namespace, rounds: list[dict[str, Any]]) -> None:
    ratios = [one["sweep"] / one["bare"] for one in rounds]
    print(
        f"{options.rows} rows, {Path(options.model).name}, {options.trials} trials, {options.concurrency} at a time, 1 thread, "
        f"medians of {len(rounds)} rounds"
    )
    for name, key in (("sweep's trials", "sweep"), *((f"  {side}", side) for side in SIDES), ("bare loops", "bare")):
        print(f"  {name:<22}{statistics.median(one[key] for one in rounds):8.1f} CPU s")
    spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"  {'ratio':<22}{statistics.median(ratios):8.2f}   {spread}   aim 1.25 at most")


def _round(options: argparse.Namespace) -> dict[str, Any]:
    """Both sides, in CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        search = Search(_search(options, folder), Terminal())
        try:
            search.check()
            search.start_ray()
            plan = search.plan()
            assert isinstance(plan, DistillationPlan)
            with _metered() as spent:
                records = search.trials(plan)
        finally:
            search.close()
        assert all(record.status == "finished" for record in records)
        loops = _bare(plan, options)
    settings = {name: getattr(options, name) for name in SETTINGS}
    return {**settings, **spent, "sweep": sum(spent.values()), "bare": statistics.mean(loops) * options.trials}


def _search(options: argparse.Namespace, folder: str) -> TuneConfig:
    lines = Path(options.data).read_text(encoding="utf-8").split("\n")[: options.rows + 200]
    draw = random.Random(1)
    for name, part in (("train", lines[: options.rows]), ("test", lines[options.rows :])):
        Path(folder, f"{name}.tsv").write_text("\n".join(part) + "\n", encoding="utf-8")
    logits = [f"{draw.gauss(0, 2):.4f},{draw.gauss(0, 2):.4f}\n" for _ in range(options.rows)]
    Path(folder, "logits.tsv").write_text("".join(logits))
    steps = math.ceil(options.rows / BATCH)
    training = {"epochs": 1, "batch_size": BATCH, "learning_rate": RATE, "evaluate_every": steps}
    base = {
        "storage": f"{folder}/runs",
        "data": {
            "input_schema": "text:str:1,label:str:1",
            "first_sequence": "text",
            "label": "label",
            "train": [f"{folder}/train.tsv"],
            "validation": [f"{folder}/test.tsv"],
            "test": [f"{folder}/test.tsv"],
            "sequence_length": LENGTH,
        },
        "logits": {"file": f"{folder}/logits.tsv"},
        "student": {"model": options.model, "training": training},
        "compute": {"precision": "fp32"},  # as the bare loops
    }
    search = {"searcher": "random", "trials": options.trials, "concurrency": options.concurrency}
    return build_tune({"kind": "tune", "name": "sweep", "base": base, **search})


@contextmanager
def _metered() -> Iterator[dict[str, float]]:
    """CPU seconds by side, of processes that end meanwhile too (but for their last second); measuring is not in them."""
    seen: dict[int, float] = {}
    sides: dict[int, str] = {}
    start, ended = _times(sides), threading.Event()
    spent: dict[str, float] = {}
    measuring = 0.0

    def watch() -> None:
        nonlocal measuring
        while not ended.wait(POLL_S):
            seen.update(_times(sides))
        measuring = time.thread_time()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield spent
    ended.set()
    thread.join()
    seen.update(_times(sides))
    for side in SIDES:
        spent[side] = sum(seconds - start.get(pid, 0.0) for pid, seconds in seen.items() if sides[pid] == side)
    spent[SIDES[0]] -= measuring


def _times(sides: dict[int, str]) -> dict[int, float]:
    """CPU seconds of this process and of all below it by their ids; ``sides`` learns what each one is."""
    me = psutil.Process()
    found = {me.pid: sum(me.cpu_times()[:2])}
    sides[me.pid] = SIDES[0]
    for process in me.children(recursive=True):
        try:
            title, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.Error:
            continue  # it has just ended
        found[process.pid] = sum(times[:2])
        if sides.get(process.pid) != SIDES[1]:  # an actor keeps its name only while it works
            sides[process.pid] = SIDES[3] if "ray::" not in title else SIDES[1] if TRIAL.search(title) else SIDES[2]
    return found


def _bare(plan: DistillationPlan, options: argparse.Namespace) -> list[float]:
    """CPU seconds of each of some loops with nothing around them, as many at a time as there were trials."""
    shares = [len(range(number, options.loops, options.concurrency)) for number in range(options.concurrency)]
    with multiprocessing.get_context("spawn").Pool(options.concurrency) as pool:
        measured = pool.starmap(_loops, [(plan, options.model, share) for share in shares], chunksize=1)
    return [seconds for share in measured for seconds in share]


def _loops(plan: DistillationPlan, model: str, count: int) -> list[float]:
    torch.set_num_threads(1)
    prepared = TokenisedSet.open(plan.train)
    steps = math.ceil(prepared.num_rows / BATCH)
    feed = local_feed(
        ReadRequest(plan.train, (plan.logits,), seed=1, batch_size=BATCH, rank=0, world=1, start_step=0, stop_step=steps)
    )
    settings: dict[str, Any] = {"pad_token_id": prepared.pad_token_id, "with_token_types": prepared.has_token_types}
    batches = [batch for rows in feed for batch in micro_batches(rows, world=1, micro_batch_size=None, **settings)]
    _loop(batches[:1], model, steps)  # some imports come with the first step
    return [_loop(batches, model, steps) for _ in range(count)]


def _loop(batches: list[Batch], model: str, steps: int) -> float:
    start = time.process_time()
    network = load_classifier(model, labels=("0", "1")).train()
    optimizer = adamw(network, weight_decay=0.01)
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, total_steps=steps, warmup_ratio=0.1, peak=RATE, shape="linear")
        logits = network(**batch.model_inputs()).logits
        assert batch.teacher_logits is not None
        assert batch.labels is not None
        soft = soft_target_kl(logits, batch.teacher_logits, temperature=2.0)
        loss = (0.5 * soft + 0.5 * cross_entropy(logits, batch.labels)).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
    return time.process_time() - start


if __name__ == "__main__":
    main()
