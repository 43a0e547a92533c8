import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.trainers.schedule import learning_rate


def rates(total: int, warmup_ratio: float, shape: str) -> list[float]:
    return [learning_rate(step, total_steps=total, warmup_ratio=warmup_ratio, peak=8.0, shape=shape) for step in range(total)]


def test_linear_by_hand() -> None:
    assert rates(8, 0.25, "linear") == pytest.approx([8 / 3, 16 / 3, 8, 8 * 5 / 6, 8 * 4 / 6, 8 * 3 / 6, 8 * 2 / 6, 8 / 6])


def test_cosine_by_hand() -> None:
    assert rates(5, 0.2, "cosine") == pytest.approx([4, 8, 8 * 0.853553390593, 4, 8 * 0.146446609407])


def test_constant_by_hand() -> None:
    assert rates(4, 0.5, "constant") == pytest.approx([8 / 3, 16 / 3, 8, 8])


def test_without_warmup_the_first_update_has_the_peak() -> None:
    assert rates(4, 0, "linear") == pytest.approx([8, 6, 4, 2])


def test_a_single_step_has_the_peak_whatever_the_warmup() -> None:
    for shape in ("linear", "cosine", "constant"):
        assert rates(1, 0.9, shape) == [8]


@given(st.integers(1, 300), st.floats(0, 0.99), st.sampled_from(["linear", "cosine", "constant"]))
def test_no_update_is_wasted_and_none_is_above_the_peak(total: int, warmup_ratio: float, shape: str) -> None:
    values = rates(total, warmup_ratio, shape)
    top = values.index(max(values))
    assert max(values) == pytest.approx(8)
    assert min(values) > 0
    assert values[: top + 1] == sorted(values[: top + 1])
    assert values[top:] == sorted(values[top:], reverse=True)


@pytest.mark.parametrize(
    ("step", "warmup_ratio", "shape", "message"),
    [
        (4, 0.1, "linear", "step 4 .* 0 to 3"),
        (-1, 0.1, "linear", "step -1"),
        (0, 1.0, "linear", "warmup_ratio = 1.0"),
        (0, -0.1, "linear", "warmup_ratio = -0.1"),
        (0, 0.1, "square", "linear, cosine or constant"),
    ],
)
def test_what_is_refused(step: int, warmup_ratio: float, shape: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learning_rate(step, total_steps=4, warmup_ratio=warmup_ratio, peak=1.0, shape=shape)
