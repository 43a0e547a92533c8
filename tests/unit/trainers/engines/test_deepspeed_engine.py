"""DeepSpeed's configuration: buckets, overlap with the backward pass, and an optimiser in the host's memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.trainers.engines.deepspeed_engine import (
    BUCKET_ELEMENTS,
    OVERLAPPING_BUCKET_ELEMENTS,
    OVERLAPPING_BUCKETS,
    bucket_elements,
    deepspeed_config,
)

SMALL, BASE, LARGE = 1_500_001, 110_000_000, 340_000_000
"""Elements of review-tiny, BERT-base and BERT-large, about."""


@given(st.integers(1, 2 * BUCKET_ELEMENTS * OVERLAPPING_BUCKETS), st.booleans())
def test_buckets_are_even_and_bounded(elements: int, overlap: bool) -> None:
    size = bucket_elements(elements, overlap=overlap)
    assert size % 2 == 0
    assert 0 < size <= min(BUCKET_ELEMENTS, elements + 1)
    if overlap:
        assert size >= min(OVERLAPPING_BUCKET_ELEMENTS, elements)
        assert size * OVERLAPPING_BUCKETS >= min(elements, BUCKET_ELEMENTS * OVERLAPPING_BUCKETS)


@pytest.mark.parametrize(
    ("elements", "one", "several"),
    [(SMALL, SMALL + 1, 2**20), (BASE, 2**25, BASE // 8), (LARGE, 2**25, 2**25)],
)
def test_overlapping_buckets_are_an_eighth_of_the_model_within_bounds(elements: int, one: int, several: int) -> None:
    assert bucket_elements(elements, overlap=False) == one
    assert bucket_elements(elements, overlap=True) == several


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_only_stages_1_and_2_are_told_to_overlap(stage: int) -> None:
    zero = deepspeed_config(stage, "fp32", elements=BASE, overlap=True)["zero_optimization"]
    assert zero.get("overlap_comm") is (True if stage in {1, 2} else None)
    assert zero["reduce_bucket_size"] == bucket_elements(BASE, overlap=stage in {1, 2})
    alone = deepspeed_config(stage, "fp32", elements=BASE)["zero_optimization"]
    assert not alone.get("overlap_comm")
    assert alone["reduce_bucket_size"] == BUCKET_ELEMENTS


def test_an_optimiser_in_host_memory_needs_no_compiled_operator() -> None:
    config = deepspeed_config(2, "bf16", elements=BASE, offload_optimizer=True)
    assert config["zero_optimization"]["offload_optimizer"] == {"device": "cpu", "pin_memory": True}
    assert config["zero_force_ds_cpu_optimizer"] is False
    assert "offload_optimizer" not in deepspeed_config(2, "bf16", elements=BASE)["zero_optimization"]
