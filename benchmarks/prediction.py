"""Prediction throughput: raykd's scoring against a bare inference loop over the same planned batches in memory, interleaved.

    python -m benchmarks.prediction [--rows 20000] [--rounds 3] [--data FILE.tsv] [--model DIR]

One thread, one model actor. A round measures, one after the other:
``bare``    forward passes alone, batches in memory, in this process;
``local``   `score_locally` from its second item on: reads row groups, pads, computes, writes parts;
``actor``   the same inside the Ray actor (`score`), from its second item on: the steady state of a long prediction;
``whole``   `score` from call to return: Ray Data's start, imports and model load in the actor, the manifest.
With ``--causal`` the model is a causal language model from a configuration (GPT-2, 4 layers of 256), the rows are prompts, and
``bare`` reads each whole, with answers of one token; only ``local`` is compared with it.
With ``--actors N`` one actor that has started is compared with N of them, from call to return.
Ratios to the first line are taken round by round, in wall-clock and in processor time (the second is immune to a busy machine,
and leaves out what waits for other processes most of the time); medians are printed.
"""

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from raykd.config import CausalTeacherConfig, build
from raykd.data.batch import Batch
from raykd.data.kept_actors import KeptActors
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec, spec_from_config
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.prompted_teacher import PromptedTeacher, prompted_teacher
from raykd.models import load_classifier, load_tokenizer, save_classifier
from raykd.predict import ScoreJob, score, score_locally
from raykd.predict.answer_scorer import AnswerScorer
from raykd.predict.import_scorer import import_scorer
from raykd.predict.scorer import ScoredPart, ScoredShare, ScoreItem, forward, group_batches
from raykd.session import start_ray, stop_ray
from raykd.task_kinds import SINGLE_LABEL

CPU = torch.device("cpu")
SHARED = Path(__file__).resolve().parents[2] / "shared"
LABELS = ("0", "1")
BATCH_ROWS, LENGTH = 64, 128
Timing = tuple[float, float, float]
"""Rows, wall-clock seconds, processor seconds (nan where they say nothing)."""
CLOCKS = {1: "rows/s", 2: "rows/cpu s"}
"""Positions in a timing, and the units of the speeds by them."""


class TimedScorer(AnswerScorer):
    """Writes down how long each item took."""

    def __call__(self, item: ScoreItem) -> ScoredPart | ScoredShare:
        """Score an item and append its timing to ``<output>.times``."""
        wall, cpu = time.perf_counter(), time.process_time()
        scored = super().__call__(item)
        timing = (scored.rows, time.perf_counter() - wall, time.process_time() - cpu)
        with open(self._jobs[item.job].output + ".times", "a", encoding="utf-8") as file:
            file.write(json.dumps(timing) + "\n")
        return scored


def main() -> None:
    """Measure and print."""
    options = _options()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model, prepared = _prepare(options, folder)
        if options.causal:
            rounds = [_causal_round(options, folder, number) for number in range(options.rounds)]
        elif options.actors:
            rounds = _actor_rounds(options, model, prepared, folder)
        else:
            start_ray(num_cpus=2)
            rounds = [_round(model, prepared, folder, number) for number in range(options.rounds)]
            stop_ray()
    _print(rounds, prepared, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", default=str(SHARED / "data/sst2/train.tsv"), help="columns text and label, no header")
    parser.add_argument("--model", default=str(SHARED / "models/review-tiny"))
    parser.add_argument("--causal", action="store_true", help="a causal language model asked by prompts, without Ray")
    parser.add_argument("--actors", type=int, help="compare so many actors, two or more, with one")
    options = parser.parse_args()
    if options.actors is not None and options.actors < 2:
        parser.error(f"--actors {options.actors}: give 2 or more, which are compared with one")
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
    score_locally([job("local")], batch_rows=BATCH_ROWS, precision="fp32", scorer=TimedScorer)
    timings["local"] = _steady(job("local").output)
    wall = _seconds(lambda: score([job("ray")], batch_rows=BATCH_ROWS, precision="fp32", scorer=TimedScorer))
    timings["actor"] = _steady(job("ray").output)
    timings["whole"] = (prepared.num_rows, wall, float("nan"))
    return timings


def _actor_rounds(options: argparse.Namespace, model: str, prepared: TokenisedSet, folder: str) -> list[dict[str, Timing]]:
    start_ray(num_cpus=2 + options.actors)
    job = ScoreJob(model, prepared.path, f"{folder}/actors")
    pools = {actors: KeptActors(actors, preload=import_scorer) for actors in (1, options.actors)}

    def seconds(actors: int) -> float:
        kept = pools[actors]
        return _seconds(lambda: score([job], actors=actors, batch_rows=BATCH_ROWS, precision="fp32", kept=kept))

    def timing(actors: int) -> Timing:
        return float(prepared.num_rows), seconds(actors), float("nan")

    for actors in pools:
        seconds(actors)
    names = {actors: f"{actors} actor{'s' * (actors > 1)}" for actors in pools}
    rounds = [{name: timing(actors) for actors, name in names.items()} for _ in range(options.rounds)]
    stop_ray()
    return rounds


def _bare(model: str, prepared: TokenisedSet) -> Timing:
    loaded = load_classifier(model, labels=LABELS).eval()
    groups = [
        group_batches(prepared, group, model=loaded, batch_rows=BATCH_ROWS, device=CPU)[1]
        for group in range(len(prepared.group_rows))
    ]
    batches: list[Batch] = [batch for group in groups for batch in group]
    with torch.inference_mode():
        for batch in batches[:: len(batches) // 20]:
            forward(loaded, batch)
        wall, cpu = time.perf_counter(), time.process_time()
        outputs = [forward(loaded, batch) for batch in batches]
        torch.cat(outputs).numpy()
    return prepared.num_rows, time.perf_counter() - wall, time.process_time() - cpu


def _causal_round(options: argparse.Namespace, folder: str, number: int) -> dict[str, Timing]:
    asked, model, prepared = _causal_teacher(options, folder)
    timings = {"bare": _bare_answers(model, prepared, [one[0] for one in asked.answers])}
    score_locally([asked.job(model, prepared.path, f"{folder}/causal-{number}")], precision="fp32", scorer=TimedScorer)
    return {**timings, "local": _steady(f"{folder}/causal-{number}")}


def _causal_teacher(options: argparse.Namespace, folder: str) -> tuple[PromptedTeacher, str, TokenisedSet]:
    tokenizer, model = load_tokenizer(options.model), f"{folder}/causal"
    shape = {"n_embd": 256, "n_layer": 4, "n_head": 4, "n_positions": 512}
    torch.manual_seed(1)
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **shape)).save_pretrained(model)
    tokenizer.save_pretrained(model)
    columns = {"input_schema": "text:str:1,label:str:1", "first_sequence": "text", "label": "label", "sequence_length": LENGTH}
    prompt = {"prompt": "text: {text} . it was", "answers": {"0": " bad", "1": " good"}, "chat_template": False}
    teacher = {"kind": "causal_lm", "model": model, "batch_size": BATCH_ROWS, **prompt}
    data = {**columns, "labels": LABELS, "train": [f"{folder}/rows.tsv"]}
    config = build({"name": "prediction", "data": data, "teacher": teacher, "student": {"model": options.model}})
    assert isinstance(config.teacher, CausalTeacherConfig)
    asked = prompted_teacher(config, config.teacher)
    spec = spec_from_config(config.data, "train", model, SINGLE_LABEL.label_codec(LABELS))
    return asked, model, prepare(replace(spec, keep=None, prompts=asked.tokenizer), folder)


def _bare_answers(folder: str, prepared: TokenisedSet, answers: list[int]) -> Timing:
    model = GPT2LMHeadModel.from_pretrained(folder).eval()
    groups = range(len(prepared.group_rows))
    batches = [
        batch for one in groups for batch in group_batches(prepared, one, model=model, batch_rows=BATCH_ROWS, device=CPU)[1]
    ]

    def scores(batch: Batch) -> torch.Tensor:
        positions = (batch.attention_mask.cumsum(1) - 1).clamp(min=0)
        output = model(**batch.model_inputs(), position_ids=positions, logits_to_keep=1, use_cache=False)
        logits: torch.Tensor = output.logits[:, -1]
        return logits.log_softmax(-1)[:, answers].log_softmax(-1)

    with torch.inference_mode():
        for batch in batches[:: max(1, len(batches) // 20)]:
            scores(batch)
        wall, cpu = time.perf_counter(), time.process_time()
        torch.cat([scores(batch) for batch in batches]).numpy()
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
    model = "GPT-2 of 4 layers" if options.causal else Path(options.model).name
    print(f"{prepared.num_rows} rows of {options.data}, {model}, 1 thread, {len(rounds)} rounds, medians")
    first = next(iter(rounds[0]))
    units = {clock: unit for clock, unit in CLOCKS.items() if not math.isnan(rounds[0][first][clock])}
    print(" " * 10 + "".join(f"{unit:>12}{'of ' + first:>12}" for unit in units.values()))
    for name in rounds[0]:
        print(f"{name:10}{''.join(_cells(rounds, name, first, clock) for clock in units)}".rstrip())


def _cells(rounds: list[dict[str, Timing]], name: str, first: str, clock: int) -> str:
    """Median speed by a clock, and median ratio to the first line's; blank where the clock says nothing."""
    speeds = [timings[name][0] / timings[name][clock] for timings in rounds]
    ratios = [speed / (timings[first][0] / timings[first][clock]) for speed, timings in zip(speeds, rounds, strict=True)]
    return " " * 24 if math.isnan(speeds[0]) else f"{statistics.median(speeds):12.0f}{statistics.median(ratios):12.3f}"


if __name__ == "__main__":
    main()
