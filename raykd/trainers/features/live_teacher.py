"""A frozen teacher as the source of the targets of feature distillation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from raykd.data.batch import Batch
from raykd.trainers.features.encoder_outputs import TOKEN_AXES, EncoderOutputs, FeatureName, Features, encoder_outputs
from raykd.trainers.features.layer_map import LayerMap

RowVectors = Callable[[EncoderOutputs, Batch], Mapping[str, Tensor]]
"""Further targets of a job kind: named tensors ``[B, W]`` from what the teacher computed on a batch."""


@dataclass(frozen=True)
class TeacherTargets:
    """The teacher's side of the losses; B rows of L tokens."""

    logits: Tensor
    """``[B, C]``."""
    features: Features
    """Features of the teacher layers of the layer map."""
    vectors: Mapping[str, Tensor] = field(default_factory=dict)
    """Further targets, ``[B, W]`` each."""

    def named(self) -> dict[str, Tensor]:
        """All tensors by name: ``logits``, ``hidden.0``, ``vector.domain``."""
        features = {f"{name}.{index}": value for name, values in self.features.items() for index, value in enumerate(values)}
        return {"logits": self.logits} | features | {f"vector.{name}": value for name, value in self.vectors.items()}

    @staticmethod
    def from_named(named: Mapping[str, Tensor]) -> "TeacherTargets":
        """Inverse of :meth:`named`."""
        features: dict[FeatureName, dict[int, Tensor]] = {}
        vectors = {}
        for key, value in named.items():
            name, _, rest = key.partition(".")
            if name == "vector":
                vectors[rest] = value
            elif rest:
                features.setdefault(cast(FeatureName, name), {})[int(rest)] = value
        ordered = {name: tuple(values[index] for index in sorted(values)) for name, values in features.items()}
        return TeacherTargets(named["logits"], ordered, vectors)


def token_axes(key: str) -> int:
    """Number of token axes of a tensor of :meth:`TeacherTargets.named`: the last axis but one, or the last two."""
    return TOKEN_AXES.get(cast(FeatureName, key.partition(".")[0]), 0)


class Teacher(Protocol):
    """A source of targets for a batch."""

    @property
    def model(self) -> Any:
        """The classifier behind the targets."""
        ...

    def __call__(self, batch: Batch) -> TeacherTargets:
        """Compute or read the targets, without gradients."""
        ...


@dataclass(frozen=True, eq=False)
class LiveTeacher:
    """A frozen teacher that runs in every step of the student: in eval mode, without gradients, outside the engine."""

    model: Any
    """A stock classifier, its attention exposed where a feature needs it."""
    layers: LayerMap
    features: frozenset[FeatureName]
    """Features that the losses read."""
    average_heads: bool = False
    """Average attention scores over heads, for a student with another number of heads."""
    row_vectors: RowVectors | None = None
    """Computes further targets."""

    def __post_init__(self) -> None:
        self.model.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> TeacherTargets:
        """Run the teacher once."""
        outputs = encoder_outputs(self.model, batch.model_inputs(), features=self.features)
        selected = outputs.select(sorted(self.features), [layer for _, layer in self.layers])
        if self.average_heads and "scores" in selected:
            selected["scores"] = tuple(scores.mean(1, keepdim=True) for scores in selected["scores"])
        vectors = {} if self.row_vectors is None else self.row_vectors(outputs, batch)
        return TeacherTargets(outputs.logits, selected, vectors)
