"""The rows and the model of Meta-KD's tests."""

from tests.unit.metakd.conftest import model, rows

__all__ = ["model", "rows"]
