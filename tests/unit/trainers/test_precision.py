"""``auto`` is bf16 on GPUs that compute in it; emulation, as on V100 and T4, does not count."""

import pytest
import torch

from raykd.trainers.precision import allow_tf32, resolve_precision, without_tf32


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_asks_for_native_bf16(native: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert resolve_precision("auto", torch.device("cuda")) == expected


def test_a_named_precision_and_the_cpu_need_no_question() -> None:
    assert resolve_precision("auto", torch.device("cpu")) == "fp32"
    assert resolve_precision("bf16", torch.device("cpu")) == "bf16"
    assert resolve_precision("fp32", torch.device("cuda")) == "fp32"


def test_scoring_forbids_tf32_and_leaves_it_as_it_was() -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        for allowed in (True, False):
            allow_tf32(allowed)
            with without_tf32():
                assert not torch.backends.cuda.matmul.allow_tf32
            assert torch.backends.cuda.matmul.allow_tf32 is allowed
    finally:
        allow_tf32(before)
