"""Log lines of EasyNLP, which existing scripts parse."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from raykd.trainers.events import Ended, Evaluated, Resumed, StepMetrics, TrainingEvent
from raykd.trainers.schedule import learning_rate

if TYPE_CHECKING:
    from raykd.config import TrainingConfig

log = logging.getLogger(__name__)

FORMAT = "[%(asctime)s %(levelname)s] %(message)s"


@contextmanager
def printing() -> Iterator[None]:
    """Print raykd's log to stderr in EasyNLP's format: progress of this command, warnings of everything else."""
    package, ours = logging.getLogger("raykd"), logging.getLogger("raykd.easynlp")
    before = package.propagate, ours.level
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    package.addHandler(handler)
    package.propagate = False
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.propagate = before[0]
        ours.setLevel(before[1])


def metric_lines(metrics: Mapping[str, float]) -> list[str]:
    """``Eval loss``, ``Accuracy`` and, for two labels, ``F1`` of the second one, else ``Macro F1`` and ``Micro F1``.

    For any number of labels a row EasyNLP's two lines, each now with the value that it names, and two more.
    """
    if "exact_match" in metrics:
        return [
            f"Eval loss: {metrics['loss']}",
            f"precision macro average: {metrics['macro_precision']}",
            f"Macro F1 average: {metrics['macro_f1']}",
            f"Micro F1: {metrics['micro_f1']}",
            f"Exact match: {metrics['exact_match']}",
        ]
    lines = [f"Eval loss: {metrics['loss']}", f"Accuracy: {metrics['accuracy']}"]
    if "f1" in metrics:
        return [*lines, f"F1: {metrics['f1']}"]
    return [*lines, f"Macro F1: {metrics['macro_f1']}", f"Micro F1: {metrics['micro_f1']}"]


def inference_line(seconds: float, rows: int) -> str:
    """Duration of scoring."""
    return f"Inference time = {seconds:.2f}s, [{seconds * 1000 / max(rows, 1):.4f} ms / sample] "


class TrainingLines:
    """Prints the events of a training as log lines."""

    def __init__(self, training: "TrainingConfig", *, weights_file: str) -> None:
        self._training = training
        self._weights_file = weights_file
        self._total_steps = 0
        self._best: float | None = None
        self._started = self._since = time.monotonic()

    def record(self, _name: str, event: TrainingEvent) -> None:
        """Print the lines of an event; events without a line in EasyNLP are ignored."""
        for line in self.lines(event):
            log.info("%s", line)

    def lines(self, event: TrainingEvent) -> Sequence[str]:
        """The lines of one event."""
        match event:
            case StepMetrics():
                return self._train(event)
            case Evaluated():
                return self._evaluation(event)
            case Resumed():
                return [f"Resume from checkpoint, start step {event.step}"]
            case Ended():
                return [f"Training Time: {time.monotonic() - self._started}"]
            case _:
                return []

    def _train(self, event: StepMetrics) -> list[str]:
        now = time.monotonic()
        seconds, self._since, self._total_steps = now - self._since, now, event.total_steps
        head = (
            f"Epoch [{event.epoch:2}/{self._training.epochs:2}], step [{event.step}/{event.total_steps}], "
            f"lr {event.learning_rate:.6f}, {seconds:.2f} s"
        )
        terms = {"loss": event.loss} | (dict(event.terms) if len(event.terms) > 1 else {})
        return [head, *(f"  {name:10}: {value:.4f} " for name, value in terms.items())]

    def _evaluation(self, event: Evaluated) -> list[str]:
        lines = [f"========== Evaluation at global step {event.step} ==========", *metric_lines(event.metrics)]
        if event.best:
            self._best = event.metrics[self._training.metric or "accuracy"]
            lines.append(f"Saving best model to {self._weights_file}...")
        if self._best is not None:  # unknown after a continuation, until a better one comes
            lines.append(f"Best score: {self._best}")
        return [*lines, f"Learning rate: {self._rate(event.step):.8f}"]

    def _rate(self, step: int) -> float:
        """Learning rate of the update that made ``step``; the history does not contain every step."""
        training = self._training
        return learning_rate(
            step - 1,
            total_steps=self._total_steps,
            warmup_ratio=training.warmup_ratio,
            peak=training.learning_rate,
            shape=training.schedule,
        )
