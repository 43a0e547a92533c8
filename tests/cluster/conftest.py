"""One small distillation, and what comes out of it when nobody disturbs it."""

import logging
import os
import random
from collections.abc import Mapping
from typing import Any

import pytest

from tests.cluster.heads import client_environment
from tests.cluster.runs import Run, World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("distillation"))


@pytest.fixture(scope="session")
def environment(world: World) -> dict[str, str]:
    """For commands: nobody's Ray, nobody's keys."""
    return client_environment(world.folder)


@pytest.fixture(scope="session")
def calm(world: World, environment: Mapping[str, str]) -> Mapping[str, Any]:
    """Weights of two workers on one node, left alone."""
    run = Run(world, "calm", environment)
    with run.command():
        assert run.end() == 0, run.output()
    return run.weights()


@pytest.fixture
def draw() -> random.Random:
    """Source of the moments of kills, new each time. A failure's captured log has its seed; the variable repeats it."""
    seed = int(os.environ.get("RAYKD_TEST_SEED", random.SystemRandom().randrange(10**6)))
    logging.getLogger(__name__).warning("RAYKD_TEST_SEED=%d", seed)
    return random.Random(seed)
