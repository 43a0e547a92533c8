"""The stages of an experiment."""

from typing import Literal

StageName = Literal["teacher", "logits", "students", "evaluation", "report"]
STAGES: tuple[StageName, ...] = ("teacher", "logits", "students", "evaluation", "report")
"""In the order they run in."""

MetaStageName = Literal["split", "weights", "teachers", "logits", "students", "evaluation", "report"]
META_STAGES: tuple[MetaStageName, ...] = ("split", "weights", "teachers", "logits", "students", "evaluation", "report")
"""Those of a meta_kd job."""
