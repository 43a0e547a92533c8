"""How fast models are on one CPU thread, tokenisation included: single rows (latency) and batches (throughput)."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from typing import Any, Literal, TypeVar

import numpy as np

from raykd.errors import ConfigError
from raykd.report.record import Record

Row = tuple[str, ...]
"""A row's text, or the two of a pair."""
Predictor = Callable[[Sequence[Row]], object]
"""Tokenises rows and runs the model on them as one batch."""

WARM_UP_CALLS = 3


class Latency(Record):
    """Speed of one model on CPU."""

    p50_ms: float
    """Median time of a single row, milliseconds."""
    p99_ms: float
    """99th percentile of the time of a single row, milliseconds."""
    rows_per_second: float
    """Median over the rounds of the throughput in batches."""
    batch_size: int
    """Rows of a batch."""
    single_rows: int
    """Single rows timed."""
    threads: int
    """CPU threads."""


Name = TypeVar("Name")


def measure_latency(
    predictors: Mapping[Name, Predictor],
    rows: Sequence[Row],
    *,
    batch_size: int = 32,
    rounds: int = 5,
    seconds: float = 0.5,
    threads: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Name, Latency]:
    """Time every predictor on the same ``rows``; rounds alternate between them, so that a busy machine is busy for all.

    Each round spends ``seconds`` on single rows and ``seconds`` on batches of each predictor (and times one at least), so it
    takes about ``2 · rounds · seconds`` a model. Rows are taken in their order, again and again.
    Raises ConfigError when there are no rows.
    """
    if not rows:
        raise ConfigError("latency needs sample rows; give at least one")
    singles: dict[Name, list[float]] = {name: [] for name in predictors}
    throughputs: dict[Name, list[float]] = {name: [] for name in predictors}
    one_by_one = {name: _batches(rows, 1) for name in predictors}
    in_batches = {name: _batches(rows, batch_size) for name in predictors}
    with _threads(threads):
        for predict in predictors.values():
            for _ in range(WARM_UP_CALLS):
                predict(next(_batches(rows, batch_size)))
                predict(rows[:1])
        for _ in range(rounds):
            for name, predict in predictors.items():
                singles[name] += _time(predict, one_by_one[name], seconds, clock)
            for name, predict in predictors.items():
                times = _time(predict, in_batches[name], seconds, clock)
                throughputs[name].append(batch_size * len(times) / sum(times))
    return {name: _summary(singles[name], throughputs[name], batch_size=batch_size, threads=threads) for name in predictors}


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


def _summary(singles: Sequence[float], throughputs: Sequence[float], *, batch_size: int, threads: int) -> Latency:
    """From seconds of single rows and rows per second of each round."""
    p50, p99 = np.percentile(singles, [50, 99])
    return Latency(
        p50_ms=1000 * float(p50),
        p99_ms=1000 * float(p99),
        rows_per_second=float(np.median(throughputs)),
        batch_size=batch_size,
        single_rows=len(singles),
        threads=threads,
    )


def _batches(rows: Sequence[Row], batch_size: int) -> Iterator[list[Row]]:
    stream = cycle(rows)
    while True:
        yield list(islice(stream, batch_size))


def _time(predict: Predictor, inputs: Iterator[list[Row]], seconds: float, clock: Callable[[], float]) -> list[float]:
    """Times of single calls, for as long as their sum is below ``seconds``."""
    times: list[float] = []
    spent = 0.0
    while not times or spent < seconds:
        given = next(inputs)
        start = clock()
        predict(given)
        times.append(clock() - start)
        spent += times[-1]
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
