"""Time that a reduction of gradients during the backward pass saves, against one behind it.

    python -m benchmarks.overlap [--workers 2 4 8] [--mbit 0 1000] [--rounds 5] [--steps 4] [--rows 8] [--shape minilm-l6]

Workers of one thread on this machine, without Ray, each with rows of its own. With ``--mbit`` each is in a network
namespace and may send so many Mbit/s (root and iproute2 needed); 0 is the loopback device without a limit. A round has
``--steps`` optimiser steps in each way, in turns: the torch engine with buckets during the backward pass, the same engine
with all buckets behind it, the deepspeed engine with ZeRO 0. ``reduction`` is one all-reduce of as many bytes with nothing
beside it. Medians of the steps, and ratios of the rounds' medians with the lowest and the highest. More workers than cores
share them.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from raykd.config import DeepSpeedEngineConfig, EngineConfig, TorchEngineConfig
from raykd.losses import cross_entropy
from raykd.models import ModelShape, build_classifier
from raykd.trainers.engines.build_engine import build_engine
from raykd.trainers.engines.engine import Engine
from tests.cluster.hosts import hosts
from tests.cluster.processes import free_ports

SHAPES = {
    "tiny": ModelShape(vocab_size=512, hidden=32, layers=2, heads=2),
    "minilm-l6": ModelShape(vocab_size=30_522, hidden=384, layers=6, heads=12, positions=512),
    "bert-base": ModelShape(vocab_size=30_522, hidden=768, layers=12, heads=12, positions=512),
}
LENGTH = 64
"""Tokens of a row."""
DURING, BEHIND, DEEPSPEED, REDUCTION = "torch, during backward", "torch, behind it", "deepspeed, ZeRO 0", "reduction"
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure every number of workers on every network; print a table."""
    options = _options()
    if options.rank is not None:
        _worker(options)
        return
    print(f"| workers | Mbit/s | {DURING}, ms | {BEHIND}, ms | {DEEPSPEED}, ms | {REDUCTION}, ms | during / behind | hidden |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for mbit in options.mbit:
        for workers in options.workers:
            print(_line(workers, mbit, _measure(options, workers, mbit)), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--mbit", type=int, nargs="+", default=[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rows", type=int, default=8, help=f"rows of {LENGTH} tokens of each worker in a step")
    parser.add_argument("--shape", choices=SHAPES, default="minilm-l6")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--meet", help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(options: argparse.Namespace, workers: int, mbit: int) -> list[dict[str, float]]:
    """Median seconds of each way in each round, as rank 0 saw them."""
    with tempfile.TemporaryDirectory() as folder, _network(workers, mbit) as (address, wrap):
        result = Path(folder, "rounds.json")
        command = [sys.executable, "-m", "benchmarks.overlap", "--workers", str(workers), "--shape", options.shape]
        for name in ("rounds", "steps", "rows"):
            command += [f"--{name}", str(getattr(options, name))]
        command += ["--meet", f"tcp://{address}:{free_ports(1)[0]}", "--result", str(result)]
        device = "eth0" if mbit else "lo"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": device, "PYTHONPATH": str(ROOT)}
        started = [
            subprocess.Popen(wrap(rank, [*command, "--rank", str(rank)]), env=environment, cwd=ROOT) for rank in range(workers)
        ]
        failed = [process for process in started if process.wait()]
        if failed:
            sys.exit(f"{len(failed)} of {workers} workers failed; see the messages above")
        rounds: list[dict[str, float]] = json.loads(result.read_text())
        return rounds


@contextlib.contextmanager
def _network(workers: int, mbit: int) -> Iterator[tuple[str, Callable[[int, list[str]], list[str]]]]:
    """The first worker's address, and the command that runs words where a worker is."""
    if not mbit:
        yield "127.0.0.1", lambda _, words: words
        return
    with hosts(workers) as machines:
        for host in machines:
            limit = f"tc -n {host.name} qdisc add dev eth0 root tbf rate {mbit}mbit burst 256kb latency 50ms"
            subprocess.run(limit.split(), check=True)
        yield machines[0].address, lambda rank, words: machines[rank].command(words)


def _worker(options: argparse.Namespace) -> None:
    [workers] = options.workers
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=options.meet, rank=options.rank, world_size=workers, timeout=timedelta(seconds=600)
    )
    ways = _ways(options)
    for way in ways.values():
        way()  # builds what is built once
    rounds = [_round(ways, options.steps, number) for number in range(options.rounds)]
    if options.rank == 0:
        Path(options.result).write_text(json.dumps(rounds))
    dist.barrier()
    dist.destroy_process_group()


def _ways(options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    shape = SHAPES[options.shape]
    draw = torch.Generator().manual_seed(options.rank)
    ids = torch.randint(5, shape.vocab_size, (options.rows, LENGTH), generator=draw)
    labels = torch.randint(0, 2, (options.rows,), generator=draw)
    plain, deepspeed = _engine(TorchEngineConfig(), shape), _engine(DeepSpeedEngineConfig(), shape)
    elements = torch.zeros(sum(parameter.numel() for parameter in plain.module.parameters()))
    return {
        DURING: lambda: _step(plain, ids, labels, during=True),
        BEHIND: lambda: _step(plain, ids, labels, during=False),
        DEEPSPEED: lambda: _step(deepspeed, ids, labels, during=True),
        REDUCTION: lambda: dist.all_reduce(elements),
    }


def _engine(config: EngineConfig, shape: ModelShape) -> Engine:
    module = build_classifier(shape, labels=("0", "1"), seed=1).train()
    return build_engine(config, module, weight_decay=0.0, precision="fp32", device=torch.device("cpu"))


def _step(engine: Engine, ids: Tensor, labels: Tensor, *, during: bool) -> None:
    """An optimiser step of one micro-batch. An engine that is not told that it is the last one reduces behind it."""
    logits = engine.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    engine.accumulate(cross_entropy(logits, labels).mean(), boundary=during)
    engine.reduce_gradients()
    engine.step(1e-5, max_grad_norm=1.0)


def _round(ways: dict[str, Callable[[], Any]], steps: int, number: int) -> dict[str, float]:
    """Median seconds of each way, its steps in turns with those of the others, which begin with another way each time."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for step in range(steps):
        names = list(ways)
        first = (number * steps + step) % len(names)
        for name in names[first:] + names[:first]:
            dist.barrier()
            began = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(some) for name, some in seconds.items()}


def _line(workers: int, mbit: int, rounds: list[dict[str, float]]) -> str:
    medians = {name: 1000 * statistics.median(one[name] for one in rounds) for name in rounds[0]}
    ratios = sorted(one[DURING] / one[BEHIND] for one in rounds)
    ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    hidden = (medians[BEHIND] - medians[DURING]) / medians[REDUCTION]
    cells = [str(workers), str(mbit or "no limit"), *(f"{medians[name]:.0f}" for name in medians), ratio, f"{hidden:.0%}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
