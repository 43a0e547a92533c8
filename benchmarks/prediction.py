"""Prediction throughput: raykd's scoring against a bare inference loop over the same planned batches in memory, interleaved.

    python -m benchmarks.prediction [--rows 20000] [--rounds 3] [--data FILE.tsv] [--model DIR]

One thread, one model actor. A round measures, one after the other:
``bare``    forward passes alone, batches in memory, in this process;
``local``   `score_locally` from its second item on: reads row groups, pads, computes, writes parts;
``actor``   the same inside the Ray actor (`score`), from its second item on: the steady state of a long prediction;
``whole``   `score` from call to return: Ray Data's start, imports and model load in the actor, the manifest.
Ratios to ``bare`` are taken round by round, in wall-clock and in processor time (the second is immune to a busy machine, and
leaves out ``whole``, most of which is waiting for processes to start); medians are printed.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from raykd.data.batch import Batch
from raykd.data.prepare import PrepareSpec, prepare
from raykd.data.tokenised_set import TokenisedSet
from raykd.models import load_classifier, load_tokenizer, save_classifier
from raykd.predict import ScoreJob, score, score_locally
from raykd.predict.scorer import ScoredPart, ScoreItem, Scorer, forward, group_batches
from raykd.session import start_ray, stop_ray
from raykd.task_kinds import SINGLE_LABEL

SHARED = Path(__file__).resolve().parents[2] / "shared"
LABELS = ("0", "1")
BATCH_ROWS, LENGTH = 64, 128
Timing = tuple[float, float, float]
"""Rows, wall-clock seconds, processor seconds."""


class TimedScorer(Scorer):
    """Writes down how long each item took."""

    def __call__(self, item: ScoreItem) -> ScoredPart:
        """Score an item and append its timing to ``<output>.times``."""
        wall, cpu = time.perf_counter(), time.process_time()
        scored = super().__call__(item)
        timing = (scored.part.rows, time.perf_counter() - wall, time.process_time() - cpu)
        with open(self._jobs[item.job].output + ".times", "a", encoding="utf-8") as file:
            file.write(json.dumps(timing) + "\n")
        return scored


def main() -> None:
    """Measure and print."""
    options = _options()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    start_ray(num_cpus=2)
    with tempfile.TemporaryDirectory() as folder:
        model, prepared = _prepare(options, folder)
        rounds = [_round(model, prepared, folder, number) for number in range(options.rounds)]
    stop_ray()
    _print(rounds, prepared, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", default=str(SHARED / "data/sst2/train.tsv"), help="columns text and label, no header")
    parser.add_argument("--model", default=str(SHARED / "models/review-tiny"))
    options = parser.parse_args()
    for path in (options.data, options.model):
        if not os.path.exists(path):
            parser.error(f"{path} does not exist; name data and model with --data and --model")
    return options


def _prepare(options: argparse.Namespace, folder: str) -> tuple[str, TokenisedSet]:
    lines = Path(options.data).read_text(encoding="utf-8").split("\n")[: options.rows]
    rows = Path(folder, "rows.tsv")
    rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = f"{folder}/model"
    save_classifier(load_classifier(options.model, labels=LABELS), load_tokenizer(options.model), model)
    spec = PrepareSpec(
        files=(str(rows),), input_schema="text:str:1,label:str:1", first_sequence="text", second_sequence=None, label="label",
        skip_header=False,
        codec=SINGLE_LABEL.label_codec(LABELS), sequence_length=LENGTH, max_rejected_rows=0, tokenizer=model, keep=None,
    )  # fmt: skip
    return model, prepare(spec, folder)


def _round(model: str, prepared: TokenisedSet, folder: str, number: int) -> dict[str, Timing]:
    def job(name: str) -> ScoreJob:
        return ScoreJob(model, prepared.path, f"{folder}/{name}-{number}")

    timings = {"bare": _bare(model, prepared)}
    score_locally([job("local")], batch_rows=BATCH_ROWS, scorer=TimedScorer)
    timings["local"] = _steady(job("local").output)
    wall = _seconds(lambda: score([job("ray")], batch_rows=BATCH_ROWS, scorer=TimedScorer))
    timings["actor"] = _steady(job("ray").output)
    timings["whole"] = (prepared.num_rows, wall, float("nan"))
    return timings


def _bare(model: str, prepared: TokenisedSet) -> Timing:
    loaded = load_classifier(model, labels=LABELS).eval()
    groups = [
        group_batches(prepared, group, model=loaded, batch_rows=BATCH_ROWS)[1] for group in range(len(prepared.group_rows))
    ]
    batches: list[Batch] = [batch for group in groups for batch in group]
    with torch.inference_mode():
        for batch in batches[:: len(batches) // 20]:
            forward(loaded, batch)
        wall, cpu = time.perf_counter(), time.process_time()
        outputs = [forward(loaded, batch) for batch in batches]
        torch.cat(outputs).numpy()
    return prepared.num_rows, time.perf_counter() - wall, time.process_time() - cpu


def _steady(output: str) -> Timing:
    items = [json.loads(line) for line in Path(output + ".times").read_text(encoding="utf-8").splitlines()][1:]
    rows, wall, cpu = (sum(column) for column in zip(*items, strict=True))
    return rows, wall, cpu


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def _print(rounds: list[dict[str, Timing]], prepared: TokenisedSet, options: argparse.Namespace) -> None:
    print(f"{prepared.num_rows} rows of {options.data}, {Path(options.model).name}, 1 thread, {len(rounds)} rounds, medians")
    print(f"{'':8}{'rows/s':>10}{'of bare':>10}{'rows/cpu s':>12}{'of bare':>10}")
    for name in rounds[0]:
        cells = []
        for clock in (1, 2):
            speeds = [timings[name][0] / timings[name][clock] for timings in rounds]
            ratios = [
                speed / (timings["bare"][0] / timings["bare"][clock]) for speed, timings in zip(speeds, rounds, strict=True)
            ]
            cells.append((statistics.median(speeds), statistics.median(ratios)))
        print(f"{name:8}{cells[0][0]:10.0f}{cells[0][1]:10.3f}{cells[1][0]:12.0f}{cells[1][1]:10.3f}")


if __name__ == "__main__":
    main()
