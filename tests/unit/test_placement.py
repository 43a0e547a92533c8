"""Placement of trainings: a pure function of the job and of the resources."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.config import ComputeConfig, DeepSpeedEngineConfig, TorchEngineConfig
from raykd.placement import PROCESS_BYTES, AvailableResources, Placement, place, wide

ENGINES = st.sampled_from([TorchEngineConfig(), *(DeepSpeedEngineConfig(zero_stage=stage) for stage in (0, 1, 2, 3))])
JOBS = st.builds(
    ComputeConfig,
    num_workers=st.one_of(st.integers(1, 9), st.just((1, 4))),
    cpus_per_worker=st.integers(1, 5),
    placement=st.sampled_from(["auto", "wide", "side_by_side"]),
    parallel_tasks=st.one_of(st.none(), st.integers(1, 9)),
    engine=ENGINES,
)
RESOURCES = st.builds(
    AvailableResources,
    st.integers(1, 70),
    gpus=st.one_of(st.none(), st.integers(1, 9)),
    memory=st.one_of(st.none(), st.integers(1, 2**36)),
    ray_cpus=st.one_of(st.none(), st.integers(0, 70)),
)


@given(compute=JOBS, tasks=st.integers(0, 40), available=RESOURCES)
def test_a_placement_fits_the_resources_and_the_job(compute: ComputeConfig, tasks: int, available: AvailableResources) -> None:
    found = place(compute, tasks, available)
    assert 1 <= found.parallel <= max(1, tasks)
    assert found.max_workers <= compute.max_workers
    assert 1 <= found.cpus <= compute.cpus_per_worker
    if found.parallel == 1:
        assert found == wide(compute)
        return
    assert compute.placement != "wide"
    assert not compute.elastic
    assert found.parallel <= (compute.parallel_tasks or found.parallel)
    assert available.gpus is None or found.parallel * found.max_workers <= available.gpus, "the last ones would never start"
    assert available.ray_cpus is None or found.parallel * found.cost <= available.ray_cpus
    if compute.parallel_tasks is None:
        assert found.parallel * found.cost <= available.cpus or available.gpus is not None
        assert available.memory is None or found.parallel * PROCESS_BYTES <= available.memory


@pytest.mark.parametrize(
    ("given", "tasks", "available", "expected"),
    [
        ({}, 7, AvailableResources(2), Placement(2, 1, 1)),  # a laptop: one training for each core
        ({"num_workers": 2}, 6, AvailableResources(2), Placement(2, 1, 1)),
        ({"num_workers": 2}, 1, AvailableResources(2), Placement(1, 2, 1)),  # one training has all workers
        ({"cpus_per_worker": 2}, 6, AvailableResources(2), Placement(2, 1, 1)),  # two threads of one worker become two workers
        ({"cpus_per_worker": 4}, 2, AvailableResources(16), Placement(2, 1, 4)),
        ({"num_workers": 8}, 3, AvailableResources(64, gpus=8), Placement(3, 2, 1)),
        ({}, 6, AvailableResources(64, gpus=4), Placement(4, 1, 1)),  # a GPU each
        (
            {"num_workers": 8, "engine": DeepSpeedEngineConfig(zero_stage=3)},
            6,
            AvailableResources(64, gpus=8),
            Placement(1, 8, 1),
        ),
        ({}, 6, AvailableResources(8, memory=3 * PROCESS_BYTES), Placement(3, 1, 1)),
        ({"parallel_tasks": 2}, 6, AvailableResources(8), Placement(2, 1, 1)),
        ({"num_workers": 4, "parallel_tasks": 2}, 6, AvailableResources(8), Placement(2, 4, 1)),
    ],
)
def test_examples(given: dict[str, object], tasks: int, available: AvailableResources, expected: Placement) -> None:
    assert place(ComputeConfig(**given), tasks, available) == expected  # type: ignore[arg-type]  # values of several types


def test_partitioned_state_goes_side_by_side_only_when_told() -> None:
    compute = ComputeConfig(num_workers=2, engine=DeepSpeedEngineConfig(zero_stage=2))
    assert place(compute, 4, AvailableResources(2)).parallel == 1
    assert place(compute.model_copy(update={"placement": "side_by_side"}), 4, AvailableResources(2)) == Placement(2, 1, 1)


def test_resources_hold_trainings_of_different_width() -> None:
    narrow, four = Placement(4, 1, 1), Placement(1, 4, 2)
    assert AvailableResources(10).holds([four, narrow, narrow])
    assert not AvailableResources(9).holds([four, narrow, narrow])
    assert not AvailableResources(20, gpus=4).holds([four, narrow])
    assert not AvailableResources(20, memory=4 * PROCESS_BYTES).holds([four, narrow])


def test_workers_get_the_placements_settings_and_one_decision_about_gpus() -> None:
    compute = Placement(2, 1, 1).compute(ComputeConfig(num_workers=4, cpus_per_worker=2), use_gpu=False)
    assert (compute.num_workers, compute.cpus_per_worker, compute.use_gpu) == (1, 1, False)
    assert str(Placement(2, 1, 1)) == "2 at a time, 1 worker of 1 CPU each"
