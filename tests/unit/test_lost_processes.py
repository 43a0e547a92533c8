"""Errors of lost processes, and what is made of them."""

import pytest
import ray
from ray.exceptions import OutOfMemoryError

from raykd.errors import ResourceError
from raykd.lost_processes import lost_process_errors
from raykd.run.task_queue import ask


@pytest.mark.parametrize("kind", ["ActorDiedError", "ActorUnavailableError", "OutOfMemoryError"])
def test_every_way_to_lose_a_process_is_known(kind: str) -> None:
    assert getattr(ray.exceptions, kind) in lost_process_errors()


def test_a_task_queue_that_ray_ends_to_free_memory_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(*_: object, **__: object) -> None:
        raise OutOfMemoryError("the node runs low on memory")

    monkeypatch.setattr(ray, "get", get)
    with pytest.raises(ResourceError, match=r"task queue, a process .* was lost; see that the command's machine has memory"):
        ask(None)
