"""Memory and speed from one million rows to ten: preparing, scoring, and training on a fixed number of rows of each.

    python -m benchmarks.streaming [--sizes 1000000 3000000 10000000] [--train-rows 100000] [--cores 2] [--folder DIR]

A model of one layer of width 32, generated TSV in shards of 500,000 rows, Ray's object store capped at 512 MB. Each size runs
in a process of its own and is written to DIR/results.jsonl: the same command continues with the next. Printed: rows/s of each
step, from call to return (with the start of Ray's processes and the counting of rows) and in the middle half of the rows; the
largest unique memory (USS) of each kind of process at the smallest and the largest size, with their ratio; and preparation
against the same tokenizer in a bare loop, one process a core, on rows of the same files (reading, tokens, nothing written),
measured before and after. With ``--formats`` the first size is prepared from each file format instead, in one process.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.footprints import Footprints
from benchmarks.input_formats import FORMATS, compare_formats

Progress = Callable[[int, int], None]
STORE_BYTES = 512 << 20
SHARD_ROWS = 500_000
BARE_ROWS = 200_000
LENGTH = 64
LABELS = ("0", "1")
SYLLABLES = [consonant + vowel for consonant in "bdklmn" for vowel in "aeiou"]
WORDS = [first + second + third for first in SYLLABLES for second in SYLLABLES for third in SYLLABLES[:4]]


def main() -> None:
    """Run the sizes that have no result yet; print all."""
    options = _options()
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    if options.formats:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        source = _shards(folder, min(options.sizes[0], SHARD_ROWS))[0]
        for name, rate, of_bare in compare_formats(options.formats, source, _model(folder), folder):
            print(f"{name:<12}{rate:>9,.0f} rows/s{of_bare:>7.2f} of the tokenizer alone", flush=True)
        return
    if options.only:
        print(json.dumps(_measure(options, folder, options.only)))
        return
    results = _results(folder)
    for size in options.sizes:
        if size not in results:
            words = [sys.executable, "-m", "benchmarks.streaming", "--only", str(size), "--folder", options.folder]
            words += ["--cores", str(options.cores), "--train-rows", str(options.train_rows)]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            with (folder / "results.jsonl").open("a") as file:
                file.write(done.stdout.splitlines()[-1] + "\n")
            results = _results(folder)
            print(f"{size} rows measured", flush=True)
    _print([results[size] for size in sorted(options.sizes)])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    parser.add_argument("--train-rows", type=int, default=100_000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--formats", nargs="+", choices=FORMATS)
    parser.add_argument("--folder", default="runs/streaming")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _results(folder: Path) -> dict[int, dict[str, Any]]:
    file = folder / "results.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return {one["rows"]: one for one in map(json.loads, lines) if "middle" in one}  # an older benchmark measured less


def _measure(options: argparse.Namespace, folder: Path, rows: int) -> dict[str, Any]:
    """One size, from its files to trained weights. Raises RaykdError as any run does."""
    os.environ["OMP_NUM_THREADS"] = "1"
    files = _shards(folder, rows)
    model = _model(folder)
    bare = [_bare(files, model, folder, options.cores)]
    from raykd.predict import ScoreJob, score
    from raykd.session import start_ray, stop_ray

    work = folder / f"work-{rows}"
    shutil.rmtree(work, ignore_errors=True)  # of a run that was interrupted: rows prepared before would cost nothing now
    found: dict[str, Any] = {"rows": rows, "rate": {}, "middle": {}, "uss": {}}
    start_ray(num_cpus=options.cores + 1, object_store_bytes=STORE_BYTES)
    with Footprints(every_s=2) as seen:
        with Pace() as pace:
            prepared = _prepare(files, model, work, pace)
        found["rate"]["prepare"], found["middle"]["prepare"] = rows / pace.seconds, rows / pace.middle
    found["uss"]["prepare"] = seen.most
    with Footprints(every_s=2) as seen:
        with Pace() as pace:
            score([ScoreJob(model, prepared.path, str(work / "logits"))], actors=options.cores, progress=pace)
        found["rate"]["score"], found["middle"]["score"] = rows / pace.seconds, rows / pace.middle
    found["uss"]["score"] = seen.most
    with Footprints(every_s=2) as seen:
        found["rate"]["train"] = _train(prepared, model, work, options.train_rows)
    found["uss"]["train"] = seen.most
    stop_ray()
    bare.append(_bare(files, model, folder, options.cores))
    return {**found, "bare": sum(bare) / len(bare)}


class Pace:
    """Times at which fractions of a job were done, by its progress."""

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        self._marks: list[tuple[float, float]] = []
        return self

    def __call__(self, done: int, total: int) -> None:
        """A part more is done."""
        self._marks.append((done / total, time.perf_counter()))

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        """From beginning to end."""
        inner = [mark for mark in self._marks if 0.25 <= mark[0] <= 0.75]
        self.middle = self.seconds
        if len(inner) > 1:
            (first, before), (last, after) = inner[0], inner[-1]
            self.middle = (after - before) / (last - first)
        """Seconds at the pace of its middle half, where that has two marks at least."""


def _shards(folder: Path, rows: int) -> list[str]:
    """The first shards are the same at every size."""
    made = []
    for number in range(-(-rows // SHARD_ROWS)):
        count = min(SHARD_ROWS, rows - number * SHARD_ROWS)
        path = folder / f"rows-{number:03d}-{count}.tsv"
        if not path.exists():
            draw = np.random.default_rng(number)
            words = np.array(WORDS)
            with path.with_suffix(".part").open("w") as file:
                for start in range(0, count, 50_000):
                    size = min(50_000, count - start)
                    lengths = draw.integers(4, 24, size)
                    drawn = words[draw.integers(0, len(words), int(lengths.sum()))].tolist()
                    ends = np.cumsum(lengths)
                    for row, label in enumerate(draw.integers(0, 2, size).tolist()):
                        file.write(f"{' '.join(drawn[ends[row] - lengths[row] : ends[row]])}\t{label}\n")
            path.with_suffix(".part").rename(path)
        made.append(str(path))
    return made


def _model(folder: Path) -> str:
    from transformers import BertTokenizerFast

    from raykd.models import ModelShape, build_classifier, save_classifier

    path = folder / "model"
    if not path.exists():
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
        tokenizer = BertTokenizerFast(vocab={piece: index for index, piece in enumerate(pieces)}, model_max_length=LENGTH)
        shape = ModelShape(vocab_size=len(pieces), hidden=32, layers=1, heads=2, positions=LENGTH)
        model = build_classifier(shape, labels=LABELS, seed=1)
        save_classifier(model, tokenizer, str(path))
    return str(path)


def _prepare(files: list[str], model: str, work: Path, progress: Progress) -> Any:
    from raykd.data.prepare import prepare
    from raykd.data.prepare_spec import PrepareSpec
    from raykd.task_kinds import SINGLE_LABEL

    spec = PrepareSpec(
        files=tuple(files), input_schema="text:str:1,label:str:1", first_sequence="text", second_sequence=None, label="label",
        skip_header=False,
        codec=SINGLE_LABEL.label_codec(LABELS), sequence_length=LENGTH, max_rejected_rows=0, tokenizer=model, keep=None,
    )  # fmt: skip
    return prepare(spec, str(work / "cache"), progress=progress)


def _bare(files: list[str], model: str, folder: Path, cores: int) -> float:
    """Rows/s of the tokenizer alone, in as many processes as cores: lines read, split at the tab, encoded, dropped."""
    jobs = [(files[0], model, str(folder), core, cores) for core in range(cores)]
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        rates = pool.map(_bare_loop, jobs)
    return sum(rates)


def _bare_loop(job: tuple[str, str, str, int, int]) -> float:
    from raykd.data.tokenizer import load_row_tokenizer

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    path, model, folder, core, cores = job
    tokenizer = load_row_tokenizer(model, folder)
    tokenizer.encode(["warm"], sequence_length=LENGTH)
    texts: list[str] = []
    began, done = time.perf_counter(), 0
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number % cores != core:
                continue
            texts.append(line.rstrip("\n").split("\t")[0])
            if len(texts) == 2048:
                tokenizer.encode(texts, sequence_length=LENGTH)
                done += len(texts)
                texts.clear()
            if done >= BARE_ROWS // cores:
                break
    return done / (time.perf_counter() - began)


def _train(prepared: Any, model: str, work: Path, rows: int) -> float:
    """Rows/s of a training of so many rows, from its first recorded step to its last, through the group and Ray Data."""
    from raykd.config import ComputeConfig, FineTuneConfig, TrainingConfig
    from raykd.run.task import TaskInputs, TaskLabels, make_task, model_folder
    from raykd.run.worker_group import WorkerGroup
    from raykd.trainers.events import StepMetrics, TrainingEvent

    compute, batch = ComputeConfig(precision="fp32"), 256
    steps = rows // batch
    training = TrainingConfig(epochs=100, max_steps=steps, batch_size=batch, learning_rate=1e-3)
    task = make_task(
        name="student", folder=str(work / "student"), model=model_folder(model), labels=TaskLabels(LABELS),
        inputs=TaskInputs(prepared, None), objective=FineTuneConfig(), training=training, seed=1, compute=compute,
    )  # fmt: skip
    seen: list[tuple[int, float]] = []

    def on_event(_: str, event: TrainingEvent) -> None:
        if isinstance(event, StepMetrics):
            seen.append((event.step, time.perf_counter()))

    group = WorkerGroup(compute, storage=str(work / "ray"), name="streaming")
    try:
        group.run([task], on_event)
    finally:
        group.close()
    (first, began), (last, ended) = seen[0], seen[-1]
    return (last - first) * batch / (ended - began)


def _print(results: list[dict[str, Any]]) -> None:
    print(
        f"{'rows/s':>11}{'bare':>9}{'prepare':>9}{'of bare':>9}{'middle':>9}{'of bare':>9}{'score':>9}{'middle':>9}{'train':>9}"
    )
    for one in results:
        rate, middle, bare = one["rate"], one["middle"], one["bare"]
        print(
            f"{one['rows']:>11,}{bare:>9,.0f}{rate['prepare']:>9,.0f}{rate['prepare'] / bare:>9.2f}{middle['prepare']:>9,.0f}"
            f"{middle['prepare'] / bare:>9.2f}{rate['score']:>9,.0f}{middle['score']:>9,.0f}{rate['train']:>9,.0f}"
        )
    small, large = results[0]["uss"], results[-1]["uss"]
    print(f"\n{'most unique memory, MB':<48} {results[0]['rows']:>12,} {results[-1]['rows']:>12,} {'ratio':>7}")
    for step in small:
        for kind in sorted(small[step].keys() & large[step].keys()):
            before, after = small[step][kind] / 1e6, large[step][kind] / 1e6
            if after >= 20:
                print(f"{step + ': ' + kind:<48} {before:>12,.0f} {after:>12,.0f} {after / before:>7.2f}")


if __name__ == "__main__":
    main()
