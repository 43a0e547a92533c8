"""The fixtures of the packages that flows go through."""

from tests.unit.easynlp.conftest import easynlp, train_flags, world
from tests.unit.report.conftest import invent

__all__ = ["easynlp", "invent", "train_flags", "world"]
