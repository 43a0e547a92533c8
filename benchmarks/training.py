"""Training throughput: raykd's engines side by side with bare loops over the same planned batches in memory.

    python -m benchmarks.training [--rows 20000] [--rounds 3] [--data FILE.tsv] [--model DIR]

One process, one thread. A bare loop runs between the steps of a raykd task: TURN steps of the one, TURN of the other, on the
same batches, so that both have the same machine, however it drifts. Seconds are the training thread's; what other threads
of the process computed in all that time (Ray's, which bring the rows) is charged to raykd. One epoch a round, from its second
turn to its last; medians over the rounds, with the lowest and the highest. ``padded`` is a bare loop on a tenth of the rows.
"""

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

from raykd.config import ComputeConfig, DeepSpeedEngineConfig, FineTuneConfig, TorchEngineConfig, TrainingConfig
from raykd.data.batch import Batch, micro_batches
from raykd.data.planned_reader import ReadRequest
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.step_stream import StepRows, local_feed, ray_feed
from raykd.data.tokenised_set import TokenisedSet
from raykd.models import load_classifier
from raykd.run.task import TaskInputs, TaskLabels, TrainTask, make_task, model_folder
from raykd.run.train_task import run_task
from raykd.session import start_ray, stop_ray
from raykd.task_kinds import SINGLE_LABEL
from raykd.trainers.context import local_context
from raykd.trainers.engines.deepspeed_engine import import_deepspeed
from raykd.trainers.events import StepMetrics, TrainingEvent
from raykd.trainers.optimizer import adamw
from raykd.trainers.schedule import learning_rate

SHARED = Path(__file__).resolve().parents[2] / "shared"
BATCH, RATE, LENGTH = 32, 5e-4, 128
TURN = 25
RATIOS = (
    ("(a) torch engine / bare PyTorch loop", "raykd torch", "bare torch", 0.95),
    ("(b) deepspeed engine / bare DeepSpeed loop", "raykd deepspeed", "bare deepspeed", 0.95),
    ("(c) deepspeed engine / torch engine", "raykd deepspeed", "raykd torch", None),
    ("(d) torch engine / loop padded to 128", "raykd torch", "padded torch", 4.0),
    ("(e) as (a), processor seconds of all processes", "raykd torch, all processes", "bare torch, all processes", None),
)
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
        codec=SINGLE_LABEL.label_codec(("0", "1")),
        skip_header=False,
        sequence_length=LENGTH,
        max_rejected_rows=0,
        tokenizer=model,
        keep=None,
    )


def _round(prepared: TokenisedSet, model: str, folder: str, number: int) -> dict[str, float]:
    """One measurement of everything, in rows per second."""
    figures = {}
    for engine in ENGINES:
        raykd, bare = _side_by_side(prepared, model, f"{folder}/{engine}-{number}", engine)
        rows = TURN * BATCH * len(bare.seconds)
        figures[f"raykd {engine}"] = rows / (sum(raykd.seconds) + raykd.background)
        figures[f"bare {engine}"] = rows / sum(bare.seconds)
        figures[f"raykd {engine}, all processes"] = rows / (sum(raykd.processor) + raykd.background + raykd.workers)
        figures[f"bare {engine}, all processes"] = rows / sum(bare.processor)
    padded = Bare(prepared, model, "torch", padded_to=LENGTH)
    clock = Clock()
    clock.start()
    for _ in range(math.ceil(prepared.num_rows / BATCH / TURN / 10)):
        padded.turn()
        clock.lap()
    figures["padded torch"] = TURN * BATCH * len(clock.seconds) / sum(clock.seconds)
    return figures


@dataclass
class Clock:
    """Turns of one of the two sides."""

    seconds: list[float] = field(default_factory=list)
    """Wall-clock seconds of each turn."""
    processor: list[float] = field(default_factory=list)
    """Processor seconds of the training thread in each turn."""
    background: float = 0.0
    """Processor seconds of the other threads of this process, over all turns of both sides."""
    workers: float = 0.0
    """Processor seconds of Ray's worker processes; its services, which idle at a constant cost, are left out."""
    _began: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        """A turn begins."""
        self._began = time.perf_counter(), time.thread_time()

    def lap(self) -> None:
        """A turn ends, and the next one begins."""
        wall, processor = self._began
        self.start()
        self.seconds.append(self._began[0] - wall)
        self.processor.append(self._began[1] - processor)


def _side_by_side(prepared: TokenisedSet, model: str, folder: str, engine: str) -> tuple[Clock, Clock]:
    """An epoch through ``run_task`` and Ray Data in this process, a bare loop of as many steps between its steps."""
    steps = prepared.num_rows // BATCH // TURN * TURN
    other, raykd, bare = Bare(prepared, model, engine), Clock(), Clock()
    before = _worker_seconds()

    def take_turns(event: TrainingEvent) -> None:
        if not isinstance(event, StepMetrics) or event.step % TURN:
            return
        if event.step == TURN:  # what is made in the first turn, as Adam's state, counts on neither side
            other.turn()
            raykd.background = time.thread_time() - time.process_time()
        else:
            raykd.lap()
            bare.start()
            other.turn()
            bare.lap()
        if event.step == steps:
            raykd.background += time.process_time() - time.thread_time()
        raykd.start()

    with local_context() as context:
        run_task(_task(prepared, model, folder, engine, steps), context, build_feed=ray_feed, listeners=(take_turns,))
    raykd.workers = _worker_seconds() - before
    return raykd, bare


def _worker_seconds() -> float:
    total = 0.0
    for process in psutil.process_iter(["cmdline"]):
        if any("ray::" in word for word in process.info["cmdline"] or ()):
            total += sum(process.cpu_times()[:2])
    return total


def _task(prepared: TokenisedSet, model: str, folder: str, engine: str, steps: int) -> TrainTask:
    training = TrainingConfig(
        epochs=1, max_steps=steps, batch_size=BATCH, learning_rate=RATE, log_every=TURN, evaluate_every=steps + 1
    )
    return make_task(
        name=engine,
        folder=folder,
        model=model_folder(model),
        labels=TaskLabels(("0", "1")),
        inputs=TaskInputs(prepared, None),
        objective=FineTuneConfig(),
        training=training,
        seed=1,
        compute=ComputeConfig(engine=ENGINES[engine], precision="fp32"),
    )


class Bare:
    """A loop with nothing around it, over batches that lie ready."""

    def __init__(self, prepared: TokenisedSet, model: str, engine: str, *, padded_to: int | None = None) -> None:
        self._steps = prepared.num_rows // BATCH
        self._step = 0
        self._batches = [batch for rows in _planned(prepared, self._steps) for batch in _collate(prepared, rows, padded_to)]
        network = load_classifier(model, labels=("0", "1")).train()
        self._optimizer = adamw(network, weight_decay=0.01)
        self._train = (_deepspeed_step if engine == "deepspeed" else _torch_step)(network, self._optimizer)

    def turn(self) -> None:
        """The next TURN steps."""
        for step in range(self._step, self._step + TURN):
            rate = learning_rate(step, total_steps=self._steps, warmup_ratio=0.1, peak=RATE, shape="linear")
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._train(self._batches[step])
        self._step += TURN


def _planned(prepared: TokenisedSet, steps: int) -> Iterator[StepRows]:
    return local_feed(ReadRequest(prepared.path, (), seed=1, batch_size=BATCH, rank=0, world=1, start_step=0, stop_step=steps))


def _collate(prepared: TokenisedSet, rows: StepRows, padded_to: int | None) -> list[Batch]:
    if padded_to is not None:
        rows = StepRows(rows.step, rows.epoch, rows.num_rows, padded_to, rows.table)
    types = prepared.has_token_types
    return micro_batches(rows, world=1, micro_batch_size=None, pad_token_id=prepared.pad_token_id, with_token_types=types)


def _loss(network: Any, batch: Batch) -> torch.Tensor:
    assert batch.labels is not None
    return torch.nn.functional.cross_entropy(network(**batch.model_inputs()).logits, batch.labels)


def _torch_step(network: Any, optimizer: torch.optim.Optimizer) -> Callable[[Batch], None]:
    def train(batch: Batch) -> None:
        loss = _loss(network, batch)
        loss.backward()  # type: ignore[no-untyped-call]
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
        loss = _loss(engine, batch)
        engine.backward(loss)
        engine.step()
        loss.item()

    return train


def _print(rounds: list[dict[str, float]], prepared: TokenisedSet, options: argparse.Namespace) -> None:
    print(
        f"{prepared.num_rows} rows of {Path(options.data).name}, {Path(options.model).name}, batch {BATCH}, 1 thread,", end=" "
    )
    print(f"medians of {len(rounds)} rounds")
    for name in rounds[0]:
        if "," not in name:
            values = [one[name] for one in rounds]
            print(f"  {name:<20}{statistics.median(values):9.1f} rows/s   ({min(values):.1f} to {max(values):.1f})")
    for text, ours, theirs, aim in RATIOS:
        values = [one[ours] / one[theirs] for one in rounds]
        wide = f"({min(values):.3f} to {max(values):.3f})"
        print(f"  {text:<47}{statistics.median(values):6.3f}   {wide}{f'   aim {aim}' if aim else ''}")


if __name__ == "__main__":
    main()
