"""Events of a training: one frozen dataclass for each kind, with one JSON form, a line of ``history.jsonl``.

The JSON form is ``{"event": kind, "step": step, ...}`` with the fields of the class, optional ones that are None left out.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Literal

from raykd.errors import DataError

Quantity = Literal["loss", "gradient norm", "per-term gradient norm"]


@dataclass(frozen=True, kw_only=True)
class TrainingEvent:
    """Base of all events."""

    kind: ClassVar[str]
    """Value of ``event`` in the JSON form."""
    step: int
    """Optimiser steps done when it happened."""

    def to_json(self) -> dict[str, Any]:
        """The event as JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        optional = {field.name for field in fields(self) if field.default is None}
        return {
            "event": self.kind,
            **{name: value for name, value in values.items() if name not in optional or value is not None},
        }


@dataclass(frozen=True, kw_only=True)
class Started(TrainingEvent):
    """Training starts or restarts, with the workers it has now."""

    kind = "start"
    pid: int
    """Process of the first worker."""
    host: str
    """Machine of the first worker."""
    engine: str
    """``torch`` or ``deepspeed-zero0`` ... ``deepspeed-zero3``."""
    model: str
    """Class of the module that is called in training."""
    precision: str
    """``fp32`` or ``bf16``."""
    world_size: int
    """Number of workers."""
    threads: int
    """PyTorch threads of each worker."""
    cpus: int
    """CPUs of each worker."""


@dataclass(frozen=True, kw_only=True)
class Resumed(TrainingEvent):
    """A checkpoint was loaded."""

    kind = "resumed"
    source: str | None = None
    """Checkpoint folder, where it is not the training's own."""


@dataclass(frozen=True, kw_only=True)
class StepMetrics(TrainingEvent):
    """Loss and throughput of one optimiser step."""

    kind = "train"
    epoch: int
    """Epoch of the step, from 0."""
    total_steps: int
    """Optimiser steps of the training."""
    terms: Mapping[str, float]
    """Mean of each loss term over the global batch, weights included."""
    loss: float
    """Sum of the terms."""
    learning_rate: float
    """Rate of this step's update."""
    grad_norm: float
    """Global gradient norm before clipping."""
    rows_per_second: float
    """Rows over all workers per second since this start; 0 for the first step."""
    data_wait_s: float
    """Seconds spent waiting for rows since this start."""


@dataclass(frozen=True, kw_only=True)
class GradientShares(TrainingEvent):
    """Share of each loss term in the sum of the per-term gradient norms."""

    kind = "gradient_share"
    shares: Mapping[str, float]
    """Share by term; they sum to 1."""


@dataclass(frozen=True, kw_only=True)
class Evaluated(TrainingEvent):
    """The model was scored on the validation set."""

    kind = "eval"
    metrics: Mapping[str, float]
    """Metrics by name."""
    best: bool
    """True for the best evaluation so far."""


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved(TrainingEvent):
    """A checkpoint of this step is complete; later steps may have been taken while it was written."""

    kind = "checkpoint"
    pause_s: float | None = None
    """Seconds that training waited for the checkpoint before to be written, and for the copy of its state."""
    write_s: float | None = None
    """Seconds of the write beside training."""


@dataclass(frozen=True, kw_only=True)
class TeacherStatesChosen(TrainingEvent):
    """Source of the teacher's hidden states in feature distillation: a live teacher or stored states. ``step`` is 0."""

    kind = "teacher_states"
    chosen: Literal["live", "stored"]
    """A forward pass of the teacher for every batch, or states kept on disk."""
    seconds: Mapping[str, float]
    """Measured seconds per batch by activity: ``live``, ``read``, ``write``, ``student``."""
    bytes: int
    """Size of all stored states."""
    limit_bytes: int
    """Largest size that is stored."""


@dataclass(frozen=True, kw_only=True)
class Warned(TrainingEvent):
    """A warning that the person at the terminal should see."""

    kind = "warning"
    message: str
    """One sentence."""


@dataclass(frozen=True, kw_only=True)
class NonFinite(TrainingEvent):
    """A quantity that is nan or infinite. Training stops, except for a per-term gradient norm, which is only a diagnostic."""

    kind = "non_finite"
    quantity: Quantity
    """Quantity that is not finite."""
    value: str
    """``nan``, ``inf`` or ``-inf``: JSON has no such numbers."""
    term: str | None = None
    """Loss term; None for the gradient norm of the whole loss."""
    rank: int | None = None
    """Worker; None where the quantity is the same on all workers."""

    @property
    def stops(self) -> bool:
        """True when the step's update must not be made."""
        return self.quantity != "per-term gradient norm"

    def __str__(self) -> str:
        """``loss term kd_kl = nan on rank 1``."""
        term = f" term {self.term}" if self.quantity == "loss" else f" of term {self.term}" if self.term else ""
        return f"{self.quantity}{term} = {self.value}" + ("" if self.rank is None else f" on rank {self.rank}")


@dataclass(frozen=True, kw_only=True)
class Stopped(TrainingEvent):
    """Training ended before its last step because it was asked to; a checkpoint is saved."""

    kind = "stopped"


@dataclass(frozen=True, kw_only=True)
class Ended(TrainingEvent):
    """Training is complete."""

    kind = "end"
    best: float | None
    """Best value of the selection metric; None without a validation set."""
    best_step: int
    """Step of the best value."""
    teacher_forwards: int | None = None
    """Forward passes of a live teacher on all workers; None without one."""


EVENTS: dict[str, type[TrainingEvent]] = {
    event.kind: event
    for event in (
        Started,
        Resumed,
        StepMetrics,
        GradientShares,
        Evaluated,
        CheckpointSaved,
        TeacherStatesChosen,
        Warned,
        NonFinite,
        Stopped,
        Ended,
    )
}
"""Event classes by their kind."""


def event_from_json(record: Mapping[str, Any]) -> TrainingEvent:
    """Inverse of :meth:`TrainingEvent.to_json`. Raises DataError that names what is missing or unknown."""
    kind = record.get("event")
    if not isinstance(kind, str) or kind not in EVENTS:
        raise DataError(f"event = {kind!r} is not one of {', '.join(EVENTS)}")
    names = {field.name for field in fields(EVENTS[kind])}
    required = {field.name for field in fields(EVENTS[kind]) if field.default is MISSING}
    given = record.keys() - {"event"}
    if missing := sorted(required - given):
        raise DataError(f"a record of event {kind!r} lacks {', '.join(missing)}")
    if unknown := sorted(given - names):
        raise DataError(f"a record of event {kind!r} has {', '.join(unknown)}, which are not its fields")
    if not isinstance(record["step"], int):
        raise DataError(f"step = {record['step']!r} is not a number of optimiser steps")
    return EVENTS[kind](**{name: record[name] for name in given})
