"""Speed of models on one CPU thread, tokenisation included: single rows (latency) and batches (throughput)."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from typing import Any, Literal, TypeVar

import numpy as np

from raykd.errors import ConfigError
from raykd.freed_memory import keep_freed_memory
from raykd.report.record import Record

SAMPLE_ROWS = 256
"""Rows that latency is measured on."""
LATENCY_SECONDS = 3.0
"""Seconds of the calls of all models together; the number of calls stands in the report."""
Row = tuple[str, ...]
"""A row's text, or the two of a pair."""
Predictor = Callable[[Sequence[Row]], object]
"""Tokenises rows and runs the model on them as one batch."""

WARM_UP_CALLS = 2
TAIL_CALLS = 200
"""Single rows that a 99th percentile needs: the slowest two decide it."""
SINGLE_ROWS_TURN = 20
"""Single rows of a model before it is the next model's turn; for batches it is one."""


class Latency(Record):
    """Speed of one model on CPU."""

    p50_ms: float
    """Median time of a single row, milliseconds."""
    p99_ms: float | None
    """99th percentile of the time of a single row, milliseconds; None for fewer than 200 rows."""
    rows_per_second: float
    """Median over the batches of the throughput."""
    batch_size: int
    """Rows of a batch."""
    single_rows: int
    """Single rows timed."""
    batches: int
    """Batches timed."""
    threads: int
    """CPU threads."""


Name = TypeVar("Name")


def measure_latency(
    predictors: Mapping[Name, Predictor],
    rows: Sequence[Row],
    *,
    batch_size: int = 32,
    seconds: float = 3.0,
    threads: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Name, Latency]:
    """Time every predictor in exactly the same calls, in turns, so that a busy machine is busy for all.

    ``rows`` should be in random order; they are repeated in that order. The calls of all predictors take ``seconds`` together,
    half for single rows and half for batches; more only where one turn of each takes longer. Raises ConfigError when there are
    no rows.
    """
    if not rows:
        raise ConfigError("latency needs sample rows; give at least one")
    keep_freed_memory()  # as training, scoring and serving do
    with _threads(threads):
        for predict in predictors.values():
            for _ in range(WARM_UP_CALLS):
                predict(next(_batches(rows, batch_size)))
                predict(rows[:1])
        singles = _time(predictors, _batches(rows, 1), SINGLE_ROWS_TURN, seconds / 2, clock)
        batches = _time(predictors, _batches(rows, batch_size), 1, seconds / 2, clock)
    return {name: _summary(singles[name], batches[name], batch_size=batch_size, threads=threads) for name in predictors}


def load_predictor(model: str, *, sequence_length: int) -> Predictor:
    """A model folder as a predictor: its own tokenizer, text cut at ``sequence_length`` tokens, logits out.

    Raises ModelError when the folder holds no classifier or no tokenizer.
    """
    import torch

    from raykd.models import fit_tokenizer, label_names, load_classifier, load_config, load_tokenizer

    tokenizer = load_tokenizer(model)
    classifier = load_classifier(model, labels=label_names(load_config(model))).eval()
    fit_tokenizer(tokenizer, classifier)

    def predict(rows: Sequence[Row]) -> object:
        batch = encode(tokenizer, rows, sequence_length=sequence_length, tensors="pt")
        with torch.inference_mode():
            return classifier(**batch).logits.numpy()

    return predict


def encode(tokenizer: Any, rows: Sequence[Row], *, sequence_length: int, tensors: Literal["pt", "np"]) -> Any:
    """Rows as one padded batch, text cut at ``sequence_length`` tokens; an empty second text is none, as in a pipeline."""
    texts = [row if len(row) > 1 and row[1] else row[0] for row in rows]
    return tokenizer(texts, truncation=True, max_length=sequence_length, padding=True, return_tensors=tensors)


def one_after_the_other(predictors: Sequence[Predictor]) -> Predictor:
    """Several models as one: each answers."""

    def predict(rows: Sequence[Row]) -> object:
        return [one(rows) for one in predictors]

    return predict if len(predictors) > 1 else predictors[0]


def _summary(singles: Sequence[float], batches: Sequence[float], *, batch_size: int, threads: int) -> Latency:
    """Speed from the seconds of each single row and of each batch."""
    p50, p99 = np.percentile(singles, [50, 99])
    return Latency(
        p50_ms=1000 * float(p50),
        p99_ms=1000 * float(p99) if len(singles) >= TAIL_CALLS else None,
        rows_per_second=batch_size / float(np.median(batches)),
        batch_size=batch_size,
        single_rows=len(singles),
        batches=len(batches),
        threads=threads,
    )


def _batches(rows: Sequence[Row], batch_size: int) -> Iterator[list[Row]]:
    stream = cycle(rows)
    while True:
        yield list(islice(stream, batch_size))


def _time(
    predictors: Mapping[Name, Predictor], inputs: Iterator[list[Row]], turn: int, limit: float, clock: Callable[[], float]
) -> dict[Name, list[float]]:
    """Seconds of each call: every predictor answers the same ``turn`` inputs, then the next ones, until ``limit``."""
    times: dict[Name, list[float]] = {name: [] for name in predictors}
    spent, first = 0.0, True
    while first or spent < limit:
        given, first = list(islice(inputs, turn)), False
        for name, predict in predictors.items():
            for one in given:
                start = clock()
                predict(one)
                times[name].append(clock() - start)
            spent += sum(times[name][-turn:])
    return times


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    """PyTorch on so many threads, and the tokenizer on one: it would take every processor for a batch."""
    import torch

    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        stack.callback(_set_environment, "TOKENIZERS_PARALLELISM", os.environ.get("TOKENIZERS_PARALLELISM"))
        torch.set_num_threads(threads)
        _set_environment("TOKENIZERS_PARALLELISM", "false")
        yield


def _set_environment(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
