"""A checkpoint continues as if nothing had happened, in any engine, ZeRO stage and number of ranks."""

from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.distributed as dist

from raykd.data import storage
from raykd.errors import CheckpointError, ResourceError
from raykd.trainers.checkpoint import Checkpoints
from raykd.trainers.context import WorkerContext
from tests.distributed.tiny_training import ALL_KINDS, State, full_state, make_engine, train
from tests.helpers import run_distributed

HALF, STEPS = 3, 6
OTHER_SEED = 5
Results = dict[str, Any]


def here() -> WorkerContext:
    return WorkerContext(dist.get_rank(), dist.get_world_size(), torch.device("cpu"))


def write(folder: str) -> Results:
    """For each kind: train, save half-way, go on to the end, and go on from the checkpoint in a fresh engine."""
    seen: Results = {}
    for kind in ALL_KINDS:
        engine = make_engine(kind)
        train(engine, 0, HALF)
        checkpoints = Checkpoints(f"{folder}/{kind}-{dist.get_world_size()}", identity="task", context=here())
        checkpoints.save(engine, HALF, {"patience": 2, "best": 0.5})
        train(engine, HALF, STEPS)
        undisturbed = full_state(engine)
        engine.close()
        seen[kind] = {"undisturbed": undisturbed, **resumed(folder, f"{kind}-{dist.get_world_size()}", kind)}
    return seen


def resumed(folder: str, source: str, kind: str) -> Results:
    """A fresh engine of other weights, continued from a checkpoint."""
    engine = make_engine(kind, seed=OTHER_SEED)
    checkpoints = Checkpoints(f"{folder}/{source}", identity="task", context=here())
    step = checkpoints.latest_step()
    assert step is not None
    position = checkpoints.load(engine, step)
    updates = engine.updates
    train(engine, step, STEPS)
    seen = {"resumed": full_state(engine), "step": step, "position": position, "updates": updates}
    engine.close()
    return seen


def across(folder: str, pairs: list[tuple[str, str]]) -> Results:
    return {f"{source} {kind}": resumed(folder, source, kind)["resumed"] for source, kind in pairs}


def write_and_read(folder: str) -> Results:
    return write(folder) | across(folder, [("torch-1", kind) for kind in ALL_KINDS]) | {"failures": failures(folder)}


def read_and_start_again(folder: str) -> Results:
    """Continue on one rank; then end the process group and train in another, as a second trial in one process does."""
    seen = across(folder, [("deepspeed-zero2-2", kind) for kind in ALL_KINDS] + [("deepspeed-zero3-2", "torch")])
    dist.destroy_process_group()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    return seen | {"again": across(folder, [("deepspeed-zero2-2", kind) for kind in ALL_KINDS])}


def failures(folder: str) -> list[str]:
    """Errors of rank 0 alone have to reach every rank, or the others wait for ever."""
    seen = []
    engine = make_engine("torch")
    mine = Checkpoints(f"{folder}/failures", identity="mine", context=here())
    mine.save(engine, 1, {})
    try:
        Checkpoints(f"{folder}/failures", identity="another", context=here()).latest_step()
    except CheckpointError as error:
        seen.append(str(error))

    def full_disk(path: str, data: bytes) -> None:
        raise ResourceError(f"{path}: No space left on device")

    with mock.patch.object(storage, "write_bytes", full_disk):
        try:
            mine.save(engine, 2, {})
        except ResourceError as error:
            seen.append(str(error))
    return [*seen, str(mine.latest_step())]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Results]:
    folder = str(tmp_path_factory.mktemp("checkpoints"))
    one = run_distributed(write, 1, folder)[0]
    two, second = run_distributed(write_and_read, 2, folder)
    again = run_distributed(read_and_start_again, 1, folder)[0]
    return {"1": one, "2": two, "2, second rank": second, "2 then 1": again}


def _assert_close(actual: State, expected: State, tolerance: float) -> None:
    assert sorted(actual) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("ranks", ["1", "2"])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_same_engine_continues_bit_for_bit(kind: str, ranks: str, results: dict[str, Results]) -> None:
    seen = results[ranks][kind]
    assert (seen["step"], seen["updates"], seen["position"]) == (HALF, HALF, {"patience": 2, "best": 0.5})
    _assert_close(seen["resumed"], seen["undisturbed"], 0)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_zero_2_on_two_ranks_continues_as_anything_on_one(kind: str, results: dict[str, Results]) -> None:
    """Three more steps differ from the undisturbed run's only as engines do: in the last bits (weights are about 1)."""
    _assert_close(results["2 then 1"][f"deepspeed-zero2-2 {kind}"], results["2"]["deepspeed-zero2"]["undisturbed"], 1e-6)


def test_zero_3_on_two_ranks_continues_as_torch_on_one(results: dict[str, Results]) -> None:
    _assert_close(results["2 then 1"]["deepspeed-zero3-2 torch"], results["2"]["deepspeed-zero3"]["undisturbed"], 1e-6)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_torch_on_one_rank_continues_as_anything_on_two(kind: str, results: dict[str, Results]) -> None:
    _assert_close(results["2"][f"torch-1 {kind}"], results["1"]["torch"]["undisturbed"], 1e-6)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_an_engine_works_in_a_second_process_group(kind: str, results: dict[str, Results]) -> None:
    name = f"deepspeed-zero2-2 {kind}"
    _assert_close(results["2 then 1"]["again"][name], results["2 then 1"][name], 0)


@pytest.mark.parametrize("rank", ["2", "2, second rank"])
def test_an_error_of_the_first_rank_is_raised_by_all(rank: str, results: dict[str, Results]) -> None:
    mismatch, full, step = results[rank]["failures"]
    assert "belongs to another task (mine, not another)" in mismatch
    assert "No space left" in full
    assert step == "1"  # the checkpoint before is still there
