"""Names of the splits of the data, and of the stages of both kinds of job."""

from typing import Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

StageName = Literal["teacher", "logits", "students", "evaluation", "report"]
STAGES: tuple[StageName, ...] = ("teacher", "logits", "students", "evaluation", "report")
"""Stages of a distillation, in order."""

MetaStageName = Literal["split", "weights", "teachers", "logits", "students", "evaluation", "report"]
META_STAGES: tuple[MetaStageName, ...] = ("split", "weights", "teachers", "logits", "students", "evaluation", "report")
"""Stages of a meta_kd job, in order."""
