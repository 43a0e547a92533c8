"""How a model is trained, and on what."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from raykd.config.base import Section


class TrainingConfig(Section):
    """One training task: batches, optimiser, schedule, validation. AdamW, without decay on biases and LayerNorm."""

    epochs: int = Field(3, ge=1)
    """Passes over the training rows."""
    max_steps: int | None = Field(None, ge=1)
    """Optimiser steps at most; the schedule then ends there."""
    batch_size: int = Field(32, ge=1)
    """Rows per optimiser step over all workers; does not change with the number of workers."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Rows per forward pass of one worker; none takes the worker's whole slice at once. Smaller accumulates gradients."""
    learning_rate: float = Field(5e-5, gt=0)
    """Peak learning rate."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Shape of the learning rate after the warm-up: to zero in a line, to zero in a half cosine, or level."""
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    """Fraction of the steps over which the learning rate rises from zero."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay of AdamW."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Global gradient norm above which gradients are scaled down; 0 never clips."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Replaces every dropout probability of the model; none keeps the model's own."""
    evaluate_every: int | None = Field(None, ge=1)
    """Optimiser steps between evaluations on the validation rows; none evaluates at the end of each epoch."""
    keep_evaluated: bool = False
    """Whether the model of every evaluation is kept, in `evaluated/step-N`, and not the best alone."""
    metric: str = "accuracy"
    """Metric on the validation rows that keeps the best model; larger is better, except `loss` and `ece`.
    Accuracy of multi-label rows is that all labels are right."""
    patience: int | None = Field(None, ge=1)
    """Evaluations without a better metric after which training stops early; none never stops early."""
    window: int = Field(64, ge=1)
    """Batches that are shuffled and grouped by length together; memory grows with it, randomness too."""
    log_every: int = Field(10, ge=1)
    """Optimiser steps between the figures that are written to the history and the tracker."""
    checkpoint_steps: int | None = Field(None, ge=1)
    """Optimiser steps between checkpoints; none spaces them by time alone."""
    checkpoint_seconds: float = Field(300.0, gt=0)
    """Seconds after which a checkpoint is written at the next step."""


class DeepSpeedEngineConfig(Section):
    """DeepSpeed with a ZeRO stage; the same weights come out of every stage."""

    kind: Literal["deepspeed"] = "deepspeed"
    zero_stage: Literal[0, 1, 2, 3] = 0
    """What is split over the workers: 1 optimiser state, 2 gradients too, 3 weights too."""


class TorchEngineConfig(Section):
    """Plain PyTorch: gradients are summed over the workers once a step."""

    kind: Literal["torch"] = "torch"


AtLeastOne = Annotated[int, Field(ge=1)]

EngineConfig = Annotated[DeepSpeedEngineConfig | TorchEngineConfig, Field(discriminator="kind")]


class ComputeConfig(Section):
    """Workers, processors and waits."""

    num_workers: AtLeastOne | tuple[AtLeastOne, AtLeastOne] = 1
    """Training workers; `[min, max]` starts with as many as there is room for, and follows the cluster as nodes come and go."""
    resize_seconds: float = Field(60.0, gt=0)
    """Seconds between two looks at whether there is room for another number of workers; for `[min, max]` only."""
    cpus_per_worker: int = Field(1, ge=1)
    """CPUs, and threads of PyTorch, of one training worker or prediction actor."""
    use_gpu: bool | None = None
    """Whether a worker takes a GPU; none takes one where the cluster has them."""
    engine: EngineConfig = DeepSpeedEngineConfig()
    """What steps the optimiser: `kind: deepspeed` or `kind: torch`."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the forward pass; auto is bf16 on a GPU that has it, else fp32. Weights and optimiser stay fp32."""
    prediction_actors: int = Field(1, ge=1)
    """Model actors of a prediction; the output does not depend on it."""
    max_failures: int = Field(3, ge=0)
    """Times a training is restarted from its last checkpoint after workers are lost."""
    start_timeout_s: float = Field(600, gt=0)
    """Seconds that nodes may take to join a cluster, workers to start, and CPUs to come free that somebody else holds."""
    collective_timeout_s: float = Field(600, gt=0)
    """Seconds that a worker waits for the others."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(
                f"num_workers = {[self.min_workers, self.max_workers]}: the first number is the least, the second the most"
            )
        return self

    @property
    def elastic(self) -> bool:
        """Whether the number of workers may change."""
        return not isinstance(self.num_workers, int)

    @property
    def min_workers(self) -> int:
        """Workers without which training waits."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]

    @property
    def max_workers(self) -> int:
        """Workers that are made at most."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]

    @property
    def workers_text(self) -> str:
        """The number of workers in words: `2`, or `1 to 4`."""
        return f"{self.min_workers} to {self.max_workers}" if self.elastic else str(self.num_workers)


class ModelTask(Section):
    """A model and how it is trained."""

    model: str
    """Model folder, local or remote, or the name of one on the model hub."""
    training: TrainingConfig = TrainingConfig()
    """Batches, optimiser, schedule, validation."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.model.strip():
            raise ValueError("model is empty; give a model folder or the name of a model on the hub")
        return self
