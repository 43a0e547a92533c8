"""Training throughput: raykd's engines against bare loops over the same planned batches in memory, in one process, interleaved.

    python -m benchmarks.training [--rows 20000] [--rounds 3] [--data FILE.tsv] [--model DIR]

Every figure is rows per second from the second step to the last of one epoch; one thread. Ratios are taken round by round and
their median printed, so that a drifting machine drifts for both sides. ``padded`` runs on a tenth of the rows.
"""

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch

from raykd.config import DeepSpeedEngineConfig, FineTune, TorchEngineConfig, TrainingConfig
from raykd.data.batch import Batch, micro_batches
from raykd.data.feed import StepRows, local_feed, ray_feed
from raykd.data.prepare import PrepareSpec, prepare
from raykd.data.prepared import PreparedSet
from raykd.models import load_classifier
from raykd.run.task import TrainTask
from raykd.run.training import run_task
from raykd.session import start_ray, stop_ray
from raykd.trainers.context import local_context
from raykd.trainers.deepspeed import import_deepspeed
from raykd.trainers.optimizer import adamw
from raykd.trainers.schedule import learning_rate

SHARED = Path(__file__).resolve().parents[2] / "shared"
BATCH, RATE, LENGTH = 32, 5e-4, 128
ENGINES = {"torch": TorchEngineConfig(), "deepspeed": DeepSpeedEngineConfig()}


def main() -> None:
    """Measure and print."""
    options = _options()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    start_ray(num_cpus=2)
    with tempfile.TemporaryDirectory() as folder, local_context():
        lines = Path(options.data).read_text(encoding="utf-8").split("\n")[: options.rows]
        rows = Path(folder, "rows.tsv")
        rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
        prepared = prepare(_spec(str(rows), options.model), folder)
        rounds = [_round(prepared, options.model, folder, number) for number in range(options.rounds)]
    stop_ray()
    _print(rounds, prepared, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", default=str(SHARED / "data/sst2/train.tsv"), help="TSV of text and label 0 or 1")
    parser.add_argument("--model", default=str(SHARED / "models/review-tiny"))
    return parser.parse_args()


def _spec(rows: str, model: str) -> PrepareSpec:
    return PrepareSpec(
        files=(rows,),
        input_schema="text:str:1,label:str:1",
        first_sequence="text",
        second_sequence=None,
        label="label",
        labels=("0", "1"),
        skip_header=False,
        sequence_length=LENGTH,
        max_rejected_rows=0,
        tokenizer=model,
        keep=None,
    )


def _round(prepared: PreparedSet, model: str, folder: str, number: int) -> dict[str, float]:
    """One measurement of everything; what runs first alternates."""
    measure: dict[str, Callable[[], float]] = {
        "bare torch": lambda: _bare(prepared, model, "torch"),
        "raykd torch": lambda: _raykd(prepared, model, folder, "torch", number)["rows_per_second"],
        "bare deepspeed": lambda: _bare(prepared, model, "deepspeed"),
        "raykd deepspeed": lambda: _raykd(prepared, model, folder, "deepspeed", number)["rows_per_second"],
        "padded torch": lambda: _bare(prepared, model, "torch", padded_to=LENGTH, fraction=0.1),
    }
    names = list(measure) if number % 2 == 0 else list(reversed(measure))
    figures = {name: measure[name]() for name in names}
    with _processor_seconds() as spent:
        rate = _raykd(prepared, model, folder, "torch", 1000 + number)
    figures["raykd rows per cpu second"] = rate["rows"] / spent["seconds"]
    with _processor_seconds() as spent:
        _bare(prepared, model, "torch")
    figures["bare rows per cpu second"] = prepared.num_rows / spent["seconds"]
    return figures


@contextmanager
def _processor_seconds() -> Iterator[dict[str, float]]:
    """CPU seconds of the process and of Ray's worker processes; not of its services, which idle at a constant cost."""
    spent: dict[str, float] = {}
    before = _processor_time()
    yield spent
    spent["seconds"] = _processor_time() - before


def _processor_time() -> float:
    total = sum(psutil.Process().cpu_times()[:2])
    for process in psutil.process_iter(["name", "cmdline"]):
        if any("ray::" in word for word in process.info["cmdline"] or ()):
            total += sum(process.cpu_times()[:2])
    return total


def _raykd(prepared: PreparedSet, model: str, folder: str, engine: str, number: int) -> dict[str, float]:
    """One epoch through ``run_task`` and Ray Data in this process."""
    steps = math.ceil(prepared.num_rows / BATCH)
    training = TrainingConfig(epochs=1, batch_size=BATCH, learning_rate=RATE, log_every=steps, evaluate_every=steps + 1)
    task = TrainTask(
        name=engine,
        folder=f"{folder}/{engine}-{number}",
        model=model,
        labels=("0", "1"),
        train=prepared.path,
        selection=None,
        objective=FineTune(),
        training=training,
        seed=1,
        engine=ENGINES[engine],
        precision="fp32",
        key=str(number),
    )
    times: dict[int, float] = {}

    def note(entry: Mapping[str, Any]) -> None:
        if entry["event"] == "train":
            times[entry["step"]] = time.perf_counter()

    with local_context() as context:
        run_task(task, context, build_feed=ray_feed, listeners=(note,))
    return {"rows_per_second": (prepared.num_rows - BATCH) / (times[steps] - times[1]), "rows": prepared.num_rows}


def _bare(prepared: PreparedSet, model: str, engine: str, *, padded_to: int | None = None, fraction: float = 1.0) -> float:
    """A loop with nothing around it, over batches that lie ready."""
    steps = math.ceil(math.ceil(prepared.num_rows / BATCH) * fraction)
    batches = [batch for rows in _steps(prepared, steps) for batch in _collate(prepared, rows, padded_to)]
    network = load_classifier(model, labels=("0", "1")).train()
    optimizer = adamw(network, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8)
    train = _deepspeed_step(network, optimizer) if engine == "deepspeed" else _torch_step(network, optimizer)
    rows, start = 0, 0.0
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, total_steps=steps, warmup=0.1, peak=RATE, shape="linear")
        train(batch)
        if step == 0:
            start = time.perf_counter()
        else:
            rows += len(batch.input_ids)
    return rows / (time.perf_counter() - start)


def _steps(prepared: PreparedSet, steps: int) -> Iterator[StepRows]:
    return local_feed(prepared.path, {}, seed=1, batch_size=BATCH, rank=0, world=1, start_step=0, stop_step=steps)


def _collate(prepared: PreparedSet, rows: StepRows, padded_to: int | None) -> list[Batch]:
    if padded_to is not None:
        rows = StepRows(rows.step, rows.epoch, rows.num_rows, padded_to, rows.table)
    types = prepared.has_token_types
    return micro_batches(rows, world=1, micro_size=None, pad_token_id=prepared.pad_token_id, with_token_types=types)


def _torch_step(network: Any, optimizer: torch.optim.Optimizer) -> Callable[[Batch], None]:
    def train(batch: Batch) -> None:
        loss = torch.nn.functional.cross_entropy(network(**batch.model_inputs()).logits, batch.labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    return train


def _deepspeed_step(network: Any, optimizer: torch.optim.Optimizer) -> Callable[[Batch], None]:
    settings = {"train_micro_batch_size_per_gpu": BATCH, "gradient_clipping": 1.0}
    deepspeed = import_deepspeed(torch.device("cpu"))
    engine, *_ = deepspeed.initialize(model=network, optimizer=optimizer, config=settings, dist_init_required=False)

    def train(batch: Batch) -> None:
        loss = torch.nn.functional.cross_entropy(engine(**batch.model_inputs()).logits, batch.labels)
        engine.backward(loss)
        engine.step()
        loss.item()

    return train


def _print(rounds: list[dict[str, float]], prepared: PreparedSet, options: argparse.Namespace) -> None:
    print(
        f"{prepared.num_rows} rows of {Path(options.data).name}, {Path(options.model).name}, batch {BATCH}, 1 thread,", end=" "
    )
    print(f"medians of {len(rounds)} rounds")
    for name in rounds[0]:
        values = [one[name] for one in rounds]
        print(f"  {name:<27}{statistics.median(values):9.1f} rows/s   ({min(values):.1f} to {max(values):.1f})")
    ratios = {
        "(a) torch engine / bare PyTorch loop": ("raykd torch", "bare torch", 0.95),
        "(b) deepspeed engine / bare DeepSpeed loop": ("raykd deepspeed", "bare deepspeed", 0.95),
        "(c) deepspeed engine / torch engine": ("raykd deepspeed", "raykd torch", None),
        "(d) torch engine / loop padded to 128": ("raykd torch", "padded torch", 4.0),
        "(e) rows per CPU-second / bare loop's": ("raykd rows per cpu second", "bare rows per cpu second", None),
    }
    for text, (ours, theirs, aim) in ratios.items():
        ratio = statistics.median(one[ours] / one[theirs] for one in rounds)
        print(f"  {text:<45}{ratio:6.3f}{f'   aim {aim}' if aim else ''}")


if __name__ == "__main__":
    main()
