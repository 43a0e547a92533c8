"""CPU time of a sweep's trials against as many bare training loops over the same planned batches.

    python -m benchmarks.sweep [--rows 5000] [--trials 20] [--concurrency 2] [--loops 20]

The sweep's side is this process and Ray's workers, from before the first trial to after the last: the actors' start and
imports are in it, shared work and the trainings at the end are not. The bare side is a PyTorch loop with the same loss over
batches that lie ready in memory, the model's loading included, imports excluded. One thread each. Logits are drawn at random:
what they say changes no time.
"""

import argparse
import math
import os
import random
import statistics
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
from raykd.data.feed import local_feed
from raykd.data.prepared import PreparedSet
from raykd.losses import cross_entropy, soft_target_kl
from raykd.models import load_classifier
from raykd.run.progress import Terminal
from raykd.trainers.optimizer import adamw
from raykd.trainers.schedule import learning_rate
from raykd.tune.driver import Search
from raykd.tune.plan import DistillationPlan

SHARED = Path(__file__).resolve().parents[2] / "shared"
BATCH, RATE, LENGTH = 32, 5e-4, 128


def main() -> None:
    """Measure and print."""
    options = _options()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
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
        loops = _bare(plan, options.model, options.loops)
    bare = statistics.mean(loops) * options.trials
    print(
        f"{options.rows} rows, {Path(options.model).name}, {options.trials} trials, {options.concurrency} at a time, 1 thread"
    )
    print(f"  sweep's trials             {spent['seconds']:8.1f} CPU s")
    spread = f"({len(loops)} measured, {min(loops):.1f} to {max(loops):.1f} s)"
    print(f"  {f'{options.trials} bare loops':<27}{bare:8.1f} CPU s   {spread}")
    print(f"  ratio                      {spent['seconds'] / bare:8.2f}   aim 1.25 at most")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--loops", type=int, default=20, help="bare loops to measure; fewer are scaled up")
    parser.add_argument("--data", default=str(SHARED / "data/sst2/train.tsv"), help="TSV of text and label 0 or 1")
    parser.add_argument("--model", default=str(SHARED / "models/review-tiny"))
    return parser.parse_args()


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
            "selection": [f"{folder}/test.tsv"],
            "test": [f"{folder}/test.tsv"],
            "sequence_length": LENGTH,
        },
        "logits": {"file": f"{folder}/logits.tsv"},
        "student": {"model": options.model, "training": training},
    }
    search = {"searcher": "random", "trials": options.trials, "concurrency": options.concurrency}
    return build_tune({"kind": "tune", "name": "sweep", "base": base, **search})


@contextmanager
def _metered() -> Iterator[dict[str, float]]:
    """CPU seconds of this process and of Ray's workers, those that end meanwhile too; not of Ray's services."""
    seen: dict[int, float] = {}
    start, ended, spent = _times(), threading.Event(), {"seconds": 0.0}

    def watch() -> None:
        while not ended.wait(0.5):
            seen.update(_times())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield spent
    ended.set()
    thread.join()
    seen.update(_times())
    spent["seconds"] = sum(seconds - start.get(pid, 0.0) for pid, seconds in seen.items())


def _times() -> dict[int, float]:
    found = {os.getpid(): sum(psutil.Process().cpu_times()[:2])}
    session = {child.pid for child in psutil.Process().children(recursive=True)}
    for process in psutil.process_iter(["cmdline", "cpu_times"]):
        mine = process.pid in session and any("ray::" in word for word in process.info["cmdline"] or ())
        if mine and process.info["cpu_times"] is not None:
            found[process.pid] = sum(process.info["cpu_times"][:2])
    return found


def _bare(plan: DistillationPlan, model: str, count: int) -> list[float]:
    """CPU seconds of each of some loops with nothing around them."""
    prepared = PreparedSet.open(plan.train)
    steps = math.ceil(prepared.num_rows / BATCH)
    feed = local_feed(
        plan.train, {"logits": plan.logits}, seed=1, batch_size=BATCH, rank=0, world=1, start_step=0, stop_step=steps
    )
    settings: dict[str, Any] = {"pad_token_id": prepared.pad_token_id, "with_token_types": prepared.has_token_types}
    batches = [batch for rows in feed for batch in micro_batches(rows, world=1, micro_size=None, **settings)]
    return [_loop(batches, model, steps) for _ in range(count)]


def _loop(batches: list[Batch], model: str, steps: int) -> float:
    start = time.process_time()
    network = load_classifier(model, labels=("0", "1")).train()
    optimizer = adamw(network, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8)
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, total_steps=steps, warmup=0.1, peak=RATE, shape="linear")
        logits = network(**batch.model_inputs()).logits
        assert batch.teacher_logits is not None
        assert batch.labels is not None
        soft = soft_target_kl(logits, batch.teacher_logits, temperature=2.0)
        loss = (0.5 * soft + 0.5 * cross_entropy(logits, batch.labels)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
    return time.process_time() - start


if __name__ == "__main__":
    main()
