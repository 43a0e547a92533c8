"""The stages of an experiment."""

from typing import Literal

StageName = Literal["teacher", "logits", "students", "evaluation", "report"]
STAGES: tuple[StageName, ...] = ("teacher", "logits", "students", "evaluation", "report")
"""In the order they run in."""
