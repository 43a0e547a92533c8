"""``auto`` is bf16 on devices that compute in it; emulation, as on V100, T4 and older CPUs, does not count."""

import pytest
import torch

from raykd.trainers import precision
from raykd.trainers.precision import BF16_OF_CPUS, allow_tf32, resolve_precision, without_tf32


@pytest.fixture(autouse=True)
def real_instructions(exact_arithmetic: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that count, which other tests do without."""
    monkeypatch.setattr(precision, "BF16_OF_CPUS", BF16_OF_CPUS)


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_asks_for_native_bf16(native: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert resolve_precision("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, "fp32"),
        ({"avx2": True}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_auto_asks_a_cpu_for_instructions(
    instructions: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert resolve_precision("auto", torch.device("cpu")) == expected


def test_the_names_of_instructions_are_those_of_torch() -> None:
    here = torch.cpu.get_capabilities()
    if here["architecture"] != "x86_64":
        pytest.skip("the names are those of x86 CPUs")
    assert here.keys() >= BF16_OF_CPUS


def test_a_named_precision_needs_no_question() -> None:
    assert resolve_precision("bf16", torch.device("cpu")) == "bf16"
    assert resolve_precision("fp32", torch.device("cpu")) == "fp32"
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
