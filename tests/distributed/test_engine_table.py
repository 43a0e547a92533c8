"""An engine from outside raykd: a section, a class in the lookup, and one entry in the tests' table of engines."""

from typing import Literal

import numpy as np
import pytest

from raykd.config.section import Section
from raykd.trainers.engines import build_engine
from raykd.trainers.engines.torch_engine import TorchEngine
from tests.distributed import tiny_training
from tests.distributed.tiny_training import ENGINE_CASES, EngineCase, backward, gradients, make_engine, weights


class DoublingConfig(Section):
    """An engine whose gradients are kept twice as large."""

    kind: Literal["doubling"] = "doubling"
    factor: float = 2.0


class DoublingEngine(TorchEngine):
    kind = "doubling"

    def __init__(self, *args, factor, **kwargs):
        super().__init__(*args, **kwargs)
        self._factor = factor

    def reduce_gradients(self):
        norm = super().reduce_gradients()
        for parameter in self._parameters:
            parameter.grad *= self._factor
        return norm


def test_a_new_engine_is_one_entry_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(build_engine.ENGINES, "doubling", DoublingEngine)
    case = EngineCase(DoublingConfig(), lambda parameter: parameter.grad / 2)  # type: ignore[arg-type]  # every parameter has a gradient
    monkeypatch.setitem(ENGINE_CASES, "doubling", case)
    own, torchs = make_engine("doubling"), make_engine("torch")
    assert isinstance(own, DoublingEngine)
    for engine in (own, torchs):
        backward(engine, 0, world=1)
    found, expected = gradients(own), gradients(torchs)
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, err_msg=name)
    assert sorted(weights(own)) == sorted(weights(torchs))
    assert set(tiny_training.KINDS) < set(ENGINE_CASES)
