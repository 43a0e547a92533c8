"""Training, engines and compute resources."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from raykd.config.paths import ModelRef
from raykd.config.section import Section


class TrainingConfig(Section):
    """Batches, optimiser, schedule and validation. AdamW, without weight decay on biases and LayerNorm."""

    epochs: int = Field(3, ge=1)
    """Passes over the training rows."""
    max_steps: int | None = Field(None, ge=1)
    """Maximum number of optimiser steps; the schedule ends there."""
    batch_size: int = Field(32, ge=1)
    """Rows per optimiser step over all workers, independent of the number of workers."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Rows per forward pass of one worker, with gradient accumulation; null is the worker's whole share of the batch."""
    learning_rate: float = Field(5e-5, gt=0)
    """Peak learning rate."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Learning rate after the warm-up: decays linearly to zero, decays by a half cosine to zero, or stays constant."""
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    """Fraction of the steps over which the learning rate rises from zero."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay of AdamW."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Global gradient norm above which gradients are scaled down; 0 never clips."""
    class_weights: Literal["none", "balanced"] = "none"
    """Weights of the classes in the loss on labels. balanced: each row counts `rows / (classes * rows of its class)`, so that
    every class has the same total weight; the teacher's terms are not weighted. For `data.task: single_label`."""
    gradient_checkpointing: bool = False
    """Compute a layer's activations again in the backward pass: less memory for large models, a third more time."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Replaces every dropout probability of the model; null keeps the model's own."""
    evaluate_every: int | None = Field(None, ge=1)
    """Optimiser steps between evaluations on the validation set; null evaluates at the end of each epoch."""
    keep_evaluated: bool = False
    """Keep the model of every evaluation in `evaluated/step-N`, not only the best one."""
    metric: str | None = None
    """Validation metric that selects the best model; null is the task's headline metric: accuracy, exact_match
    (all labels of a row are right) for multi-label rows, or pearson for regression."""
    patience: int | None = Field(None, ge=1)
    """Evaluations without improvement after which training stops early; null disables early stopping."""
    window: int = Field(64, ge=1)
    """Batches that are shuffled and grouped by length together; larger needs more memory and shuffles better."""
    log_every: int = Field(10, ge=1)
    """Optimiser steps between metrics that are written to the history and the tracker."""
    checkpoint_steps: int | None = Field(None, ge=1)
    """Optimiser steps between checkpoints; null spaces them by time alone."""
    checkpoint_seconds: float = Field(300.0, gt=0)
    """Seconds after which a checkpoint is written at the next step."""

    def num_steps(self, num_rows: int) -> int:
        """Optimiser steps on so many training rows."""
        steps = self.epochs * math.ceil(num_rows / self.batch_size)
        return steps if self.max_steps is None else min(steps, self.max_steps)


class DeepSpeedEngineConfig(Section):
    """DeepSpeed with a ZeRO stage; every stage gives the same weights."""

    kind: Literal["deepspeed"] = "deepspeed"
    zero_stage: Literal[0, 1, 2, 3] = 0
    """State that is partitioned over the workers: 1 optimiser state, 2 also gradients, 3 also weights."""
    offload_optimizer: bool = False
    """Keep the optimiser's state in the host's memory and update the weights there, for a model whose state does not fit the
    GPU; every step then copies gradients and weights. Needs `zero_stage: 2`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.offload_optimizer and self.zero_stage != 2:
            raise ValueError(
                f"offload_optimizer = true with zero_stage = {self.zero_stage}; set zero_stage to 2, the only one that offloads"
            )
        return self

    @property
    def description(self) -> str:
        """Name and settings in words."""
        return f"deepspeed, ZeRO {self.zero_stage}" + (", optimiser in host memory" if self.offload_optimizer else "")


class TorchEngineConfig(Section):
    """Plain PyTorch: gradients are all-reduced once per step, in buckets while backward runs."""

    kind: Literal["torch"] = "torch"

    @property
    def description(self) -> str:
        """Name and settings in words."""
        return "torch"


Precision = Literal["fp32", "bf16"]
"""Number format of matrix products; parameters, losses and sums are in fp32."""
PrecisionChoice = Literal["auto", "fp32", "bf16"]
"""auto: bf16 on GPUs and CPUs that compute in it, else fp32."""
AtLeastOne = Annotated[int, Field(ge=1)]

EngineConfig = Annotated[DeepSpeedEngineConfig | TorchEngineConfig, Field(discriminator="kind")]


class ComputeConfig(Section):
    """Workers, devices and timeouts."""

    num_workers: AtLeastOne | tuple[AtLeastOne, AtLeastOne] = 1
    """Number of training workers; `[min, max]` starts as many as the cluster can hold and adapts as nodes join and leave."""
    resize_seconds: float = Field(60.0, gt=0)
    """Seconds between checks whether the number of workers can change; used with `[min, max]` only."""
    cpus_per_worker: int | None = Field(None, ge=1)
    """CPUs of one training worker or prediction actor, and its PyTorch threads at most. null: on a machine without a
    GPU whose Ray the run starts itself, half of the cores, divided by the largest `num_workers`, so that trainings that need no
    teacher have the other half, and no more than all cores for `prediction_actors`; elsewhere, and in a search, 1."""
    threads: Literal["auto"] | AtLeastOne = "auto"
    """PyTorch threads of a training worker on a CPU, at most `cpus_per_worker`. auto: as many, but fewer where a step is too
    small for them, by the model's size and the tokens of a batch. Other numbers of threads round sums differently."""
    placement: Literal["auto", "wide", "side_by_side"] = "auto"
    """Use of the workers by several trainings (variants, seeds, folds, domains, teachers). wide: one training at a time, on
    `num_workers` workers. side_by_side: several at a time, each on an equal share of the cores or GPUs, at least one worker
    and at most `num_workers`. auto: side_by_side, but wide with ZeRO 1 to 3 on several workers. An elastic number of workers
    is always wide. The weights are those of as many workers as a training has."""
    parallel_tasks: int | None = Field(None, ge=1)
    """Largest number of trainings side by side; null is one for each core or GPU of a local machine that has 2 GiB of memory
    for each, and on a cluster as many as `num_workers` workers hold. On a cluster each has up to `num_workers` workers. No
    more train at a time than Ray has CPUs or GPUs for."""
    use_gpu: bool | None = None
    """Give each worker a GPU; null uses GPUs where the cluster has them."""
    engine: EngineConfig = DeepSpeedEngineConfig()
    """Training engine."""
    precision: PrecisionChoice = "auto"
    """Precision of the forward pass; auto is bf16 on GPUs and CPUs that compute in it (CPUs: AVX512-BF16 or AMX-BF16), else
    fp32. Weights and optimiser stay fp32, and rows of a report are scored in fp32."""
    tf32: bool = True
    """Allow TF32 (10 bits of mantissa) in fp32 matrix products of a training on a GPU. Scoring never uses it."""
    compile: bool = False
    """Compile the forward and backward passes of a training with `torch.compile`, once for each padded length: the first steps
    take minutes, later ones less time on a GPU. Dropout draws other numbers than without. Not for ZeRO 3; passes that read
    hidden states (`student.intermediate`, Meta-KD) run uncompiled. A CPU needs a C++ compiler."""
    attention: Literal["auto", "padded", "unpadded"] = "auto"
    """Attention of classifiers in training, evaluation and scoring. padded: rows are padded to the longest of their batch, on
    GPUs to a multiple of 8 tokens. unpadded: the rows of a batch are joined to one row without padding, for BERT, RoBERTa,
    XLM-RoBERTa, DistilBERT and ModernBERT; the numbers are equal but for rounding and the draws of dropout. Not for ZeRO 3.
    auto: padded."""
    prediction_actors: int = Field(1, ge=1)
    """Number of processes that run a model for prediction; the output does not depend on it. On one machine without a GPU
    training workers that wait are used if there are enough, else actors."""
    max_failures: int = Field(3, ge=0)
    """Restarts of a training from its last checkpoint after workers are lost."""
    start_timeout_s: float = Field(600, gt=0)
    """Timeout in seconds for nodes to join, for workers to start, and for busy CPUs to become free."""
    collective_timeout_s: float = Field(600, gt=0)
    """Timeout in seconds of collective operations between workers."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(
                f"num_workers = {[self.min_workers, self.max_workers]}: the first number is the minimum, the second the maximum"
            )
        if self.threads != "auto" and self.threads > self.worker_cpus:
            raise ValueError(
                f"threads = {self.threads} is over cpus_per_worker = {self.cpus_per_worker}; lower it, or raise cpus_per_worker"
            )
        if self.compile and isinstance(self.engine, DeepSpeedEngineConfig) and self.engine.zero_stage == 3:
            raise ValueError(
                "compile = true with zero_stage = 3, which gathers weights inside the forward pass; set compile to false, or "
                "zero_stage to 2 or less"
            )
        if self.unpadded and isinstance(self.engine, DeepSpeedEngineConfig) and self.engine.zero_stage == 3:
            raise ValueError(
                "attention = unpadded with zero_stage = 3, which rebuilds the hidden states of a forward pass; set attention "
                "to padded, or zero_stage to 2 or less"
            )
        if self.compile and self.unpadded:
            raise ValueError(
                "compile = true with attention = unpadded, whose number of tokens differs in every step, so that each would be "
                "compiled anew; set attention to padded, or compile to false"
            )
        return self

    @property
    def worker_cpus(self) -> int:
        """CPUs of one worker or actor; where none are given, one for each of ``threads``."""
        return self.cpus_per_worker or (1 if self.threads == "auto" else self.threads)

    @property
    def unpadded(self) -> bool:
        """True where classifiers run without padding."""
        return self.attention == "unpadded"

    @property
    def elastic(self) -> bool:
        """True when the number of workers may change."""
        return not isinstance(self.num_workers, int)

    @property
    def min_workers(self) -> int:
        """Minimum number of workers."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]

    @property
    def max_workers(self) -> int:
        """Maximum number of workers."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]

    @property
    def workers_text(self) -> str:
        """The number of workers as text: `2`, or `1 to 4`."""
        return f"{self.min_workers} to {self.max_workers}" if self.elastic else str(self.num_workers)


class ModelTask(Section):
    """A model and its training."""

    model: ModelRef
    """Model folder, local or remote, or a model name on the Hugging Face hub."""
    training: TrainingConfig = TrainingConfig()
    """Batches, optimiser, schedule and validation."""
