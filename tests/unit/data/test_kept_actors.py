"""Items that are handed to kept processes, without any process."""

import pickle
from pathlib import Path

import pyarrow as pa
import pytest
import ray
from ray.exceptions import ActorDiedError, OutOfMemoryError

from raykd.data.kept_actors import LentWorkerLostError, _free_actor, _hand_over
from raykd.data.watchdog import Heartbeat


@pytest.mark.parametrize("error", [ActorDiedError(), OutOfMemoryError("the node ran low on memory")])
def test_a_process_that_was_lost_is_reported_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(ray, "get", fail)
    batch = pa.table({"position": [0, 1], "item": [b"", b""]})
    found = _hand_over(
        batch, actors=["actor"], call=lambda *_: "reference", build=b"", job="", heartbeat=Heartbeat(b"", 20.0),
        locks=str(tmp_path), lost=LentWorkerLostError(),
    )  # fmt: skip
    results = [pickle.loads(result) for result in found["result"].to_pylist()]
    assert [type(result) for result in results] == [LentWorkerLostError] * 2


def test_an_actor_is_free_until_a_task_takes_it_and_again_after_it(tmp_path: Path) -> None:
    with _free_actor(str(tmp_path), 2) as first:
        with _free_actor(str(tmp_path), 2) as second:
            assert (first, second) == (0, 1)
            with _free_actor(str(tmp_path), 2) as third:
                assert third == 0, "all are taken: its item waits"
        with _free_actor(str(tmp_path), 2) as again:
            assert again == 1
