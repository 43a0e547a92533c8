"""One GPU, without Ray: correctness first, then speed and memory of raykd against a bare loop in the same process.

    python -m benchmarks.gpu [--minutes 8] [--out gpu.json]          one GPU
    python -m benchmarks.gpu --device cpu --tiny                     a dry run: the same program with tiny shapes

BERT-base and minilm-l6 shapes with random weights, rows of random tokens with the lengths of SST-2 and of Amazon reviews (cut
at 128 tokens): training in fp32, TF32 and bf16; rows padded to 128 tokens, to their batch, or not at all; raykd with both
engines, a bare loop, and a compiled one; distillation with a live teacher; scoring. MFU counts the operations of a row's own
tokens, so padding lowers it; its denominator is the dense peak of the device's data sheet. Cells that no time is left for are
listed as such.
Writes JSON, and prints a table. Exits with 1 where a check fails.
"""

import argparse
import gc
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.gpu_checks import correctness
from benchmarks.gpu_loops import Timer, fine_tuning, score, train_bare, train_with_raykd
from benchmarks.gpu_rows import LENGTHS, SHAPES, TINY, Shape, draw_lengths, steps
from raykd.config.features import FeatureLossConfig
from raykd.config.training import Precision
from raykd.data.step_stream import StepRows
from raykd.trainers.context import WorkerContext, local_context
from raykd.trainers.features.build_features import StudentTask, feature_losses, live_teacher
from raykd.trainers.features.feature_kd import PROJECTIONS, FeatureKD, projections
from raykd.trainers.objective import Objective
from raykd.trainers.precision import allow_tf32

LIMIT = 128
"""Tokens that rows are cut at."""
PEAKS = {
    "H100": {"bf16": 989e12, "tf32": 494e12, "fp32": 67e12},
    "H200": {"bf16": 989e12, "tf32": 494e12, "fp32": 67e12},
    "A100": {"bf16": 312e12, "tf32": 156e12, "fp32": 19.5e12},
    "L4": {"bf16": 121e12, "tf32": 60e12, "fp32": 30e12},
    "A10": {"bf16": 125e12, "tf32": 62e12, "fp32": 31e12},
}
"""Operations per second of NVIDIA's data sheets (SXM versions), dense, by a part of the device's name."""
Loop = Literal["raykd torch", "raykd deepspeed", "bare", "bare, compiled", "live teacher", "scoring"]


@dataclass(frozen=True)
class Cell:
    """One measurement."""

    shape: str
    lengths: str
    loop: Loop
    precision: Literal["fp32", "tf32", "bf16"]
    rows: Literal["bucketed", "padded", "unpadded"] = "bucketed"
    """Rows are padded to the longest of their batch, to :data:`LIMIT` tokens, or joined without padding."""
    dropout: bool = True
    """Train with BERT's dropout, which torch's attention for rows of varying length does not have."""


def cells(shapes: Sequence[str], *, compiles: bool) -> Iterator[Cell]:
    """All measurements, the most wanted first."""
    for shape, lengths in itertools.product(shapes, LENGTHS):
        yield from (Cell(shape, lengths, loop, "bf16") for loop in ("raykd torch", "bare", "raykd deepspeed"))
    for shape, lengths in itertools.product(shapes, LENGTHS):
        yield from (Cell(shape, lengths, loop, "bf16", rows="padded") for loop in ("raykd torch", "bare"))
        yield Cell(shape, lengths, "raykd torch", "bf16", rows="unpadded")
        yield from (Cell(shape, lengths, "raykd torch", "bf16", rows=rows, dropout=False) for rows in ("bucketed", "unpadded"))
        yield from (Cell(shape, lengths, "scoring", "bf16", rows=rows) for rows in ("bucketed", "unpadded"))
        yield from (Cell(shape, lengths, loop, "tf32") for loop in ("raykd torch", "bare"))
        yield Cell(shape, lengths, "live teacher", "bf16")
    for shape in shapes:
        yield from (Cell(shape, "amazon", loop, "fp32") for loop in ("raykd torch", "bare"))
        if compiles:
            yield Cell(shape, "amazon", "bare, compiled", "bf16", rows="padded")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, measure, print."""
    options = _options(arguments)
    device = torch.device(options.device)
    shapes = TINY if options.tiny else SHAPES
    deadline = time.monotonic() + 60 * options.minutes
    result: dict[str, Any] = {"device": _name(device), "torch": torch.__version__, "batch": options.batch, "tokens": LIMIT}
    result["checks"] = correctness(next(iter(TINY.values())) if options.tiny else Shape(2, 384, 12), device)
    result["cells"] = []
    wanted = list(cells(list(shapes), compiles=device.type == "cuda"))
    with local_context(device.type) as context:
        for position, cell in enumerate(wanted):
            left = deadline - time.monotonic()
            if left < 2 * options.seconds:
                result["not_measured"] = [asdict(one) for one in wanted[position:]]
                break
            result["cells"].append(asdict(cell) | measure(cell, shapes[cell.shape], options, context))
            _write(options.out, result)
    _write(options.out, result)
    print(table(result))
    return 0 if all(check["passed"] for check in result["checks"]) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="time of everything")
    parser.add_argument("--seconds", type=float, default=4.0, help="time of one measurement")
    parser.add_argument("--batch", type=int, default=128, help="rows of a step")
    parser.add_argument("--out", default="gpu.json")
    parser.add_argument("--tiny", action="store_true", help="shapes for a dry run")
    return parser.parse_args(arguments)


def measure(cell: Cell, shape: Shape, options: argparse.Namespace, context: WorkerContext) -> dict[str, Any]:
    """Rows and tokens per second, MFU and peak memory of one cell; the error where memory does not suffice."""
    limit = min(LIMIT, shape.positions)
    lengths = draw_lengths(cell.lengths, 64 * options.batch if not options.tiny else 8 * options.batch, limit=limit)
    padded_to = limit if cell.rows == "padded" else None
    rows = list(steps(lengths, batch=options.batch, vocabulary=shape.vocabulary, limit=limit, padded_to=padded_to))
    timer = Timer(options.seconds, context.device)
    allow_tf32(cell.precision == "tf32")
    try:
        _run(cell, shape, rows, timer, context)
    except torch.OutOfMemoryError as error:
        return {"error": str(error).splitlines()[0]}
    finally:
        gc.collect()
        if context.device.type == "cuda":
            torch.cuda.empty_cache()
    return _figures(cell, shape, rows, timer, context.device)


def _run(cell: Cell, shape: Shape, rows: Sequence[StepRows], timer: Timer, context: WorkerContext) -> None:
    precision: Precision = "bf16" if cell.precision == "bf16" else "fp32"
    model = shape.build() if cell.dropout else shape.build(dropout=0.0)
    unpadded = cell.rows == "unpadded"
    if cell.loop == "scoring":
        score(model, rows, timer, precision=precision, device=context.device, unpadded=unpadded)
    elif cell.loop in {"bare", "bare, compiled"}:
        compiled = cell.loop == "bare, compiled"
        train_bare(model, rows, timer, precision=precision, device=context.device, compiled=compiled)
    else:
        live = cell.loop == "live teacher"
        objective = _with_live_teacher(model, shape, precision, context) if live else fine_tuning()
        engine = "deepspeed" if cell.loop == "raykd deepspeed" else "torch"
        train_with_raykd(model, objective, rows, timer, engine=engine, precision=precision, context=context, unpadded=unpadded)


def _with_live_teacher(student: Any, shape: Shape, precision: Precision, context: WorkerContext) -> Objective:
    """Hidden states of a teacher of the student's own shape, which runs in every step."""
    rows: Any = None  # no states are stored
    teacher = shape.build().to(context.device, torch.bfloat16 if precision == "bf16" else torch.float32)
    task = StudentTask(student, ("0", "1"), rows=rows, epochs=1, worker=context, precision=precision)
    config = FeatureLossConfig(embedding_weight=0.0, attention_weight=0.0, hidden_weight=1.0)
    losses = feature_losses(config, student=student.config, teacher=teacher.config)
    auxiliary = {PROJECTIONS: projections(shape.hidden, shape.hidden, losses.projected)}
    return FeatureKD(teacher=live_teacher(teacher, losses, task), losses=losses, auxiliary=auxiliary)


def _figures(cell: Cell, shape: Shape, rows: Sequence[StepRows], timer: Timer, device: torch.device) -> dict[str, Any]:
    lengths = np.concatenate([rows[number % len(rows)].table["length"].to_numpy() for number in timer.done])
    operations = shape.training_flops(lengths) / (3 if cell.loop == "scoring" else 1)
    peak = _peak(device, cell.precision)
    known = peak is not None and cell.loop != "live teacher"  # whose operations are not those of one model
    return {
        "steps": len(timer.done),
        "rows_per_second": len(lengths) / timer.spent,
        "tokens_per_second": int(lengths.sum()) / timer.spent,
        "mfu": operations / timer.spent / peak if known and peak else None,
        "peak_gib": None if timer.peak_bytes is None else timer.peak_bytes / 2**30,
    }


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def _peak(device: torch.device, precision: str) -> float | None:
    name = _name(device)
    return next((peaks[precision] for part, peaks in PEAKS.items() if part in name), None)


def _write(path: str, result: dict[str, Any]) -> None:
    Path(path).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def table(result: dict[str, Any]) -> str:
    """The result as Markdown.

    ``of bare`` compares rows/s with the bare loop of the same shape, lengths, precision and padding; ``of bucketed`` with the
    same loop on rows that are padded to their batch.
    """
    lines = [
        f"{result['device']}, torch {result['torch']}, {result['batch']} rows a step, at most {result['tokens']} tokens",
        "",
    ]
    lines += ["| check | passed | difference |", "| --- | --- | ---: |"]
    lines += [
        f"| {one['check']} | {'yes' if one['passed'] else 'NO'} | {one.get('difference', one.get('error', ''))} |"
        for one in result["checks"]
    ]
    lines += ["", "| model | lengths | precision | rows | loop | rows/s | tokens/s | MFU | of bare | of bucketed | peak GiB |"]
    lines += ["| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    measured = {_key(one): one["rows_per_second"] for one in result["cells"] if "error" not in one}
    for one in result["cells"]:
        loop = one["loop"] if one["dropout"] else f"{one['loop']}, no dropout"
        name = f"| {one['shape']} | {one['lengths']} | {one['precision']} | {one['rows']} | {loop} |"
        if "error" in one:
            lines.append(f"{name} {one['error']} | | | | | |")
            continue
        rate = one["rows_per_second"]
        of_bare = _ratio(rate, measured.get(_key(one, loop="bare"))) if one["loop"].startswith(("raykd", "bare")) else ""
        of_bucketed = _ratio(rate, measured.get(_key(one, rows="bucketed"))) if one["rows"] != "bucketed" else ""
        mfu, peak = (f"{one[key]:.3f}" if one[key] is not None else "" for key in ("mfu", "peak_gib"))
        lines.append(f"{name} {rate:,.0f} | {one['tokens_per_second']:,.0f} | {mfu} | {of_bare} | {of_bucketed} | {peak} |")
    if skipped := result.get("not_measured"):
        lines += ["", f"No time was left for {len(skipped)} of the measurements."]
    return "\n".join(lines)


def _ratio(rate: float, other: float | None) -> str:
    return "" if other is None else f"{rate / other:.3f}"


def _key(cell: dict[str, Any], **changes: str) -> tuple[Any, ...]:
    return tuple((cell | changes)[name] for name in ("shape", "lengths", "loop", "precision", "rows", "dropout"))


if __name__ == "__main__":
    sys.exit(main())
