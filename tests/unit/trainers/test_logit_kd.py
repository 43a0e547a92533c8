"""Settings of the distilling objectives: what is refused before training, and how they move during it."""

from collections.abc import Callable

import pytest

from raykd.errors import ConfigError
from raykd.trainers.logit_kd import DecoupledKD, DistKD, MseKD, VanillaKD, ramp
from raykd.trainers.objective import Objective


@pytest.mark.parametrize(
    ("start", "final", "progress", "expected"),
    [(4, None, 0.5, 4), (4, 1, 0, 4), (4, 1, 0.5, 2.5), (4, 1, 1, 1), (0, 1, 0.25, 0.25), (4, 1, -1, 4), (4, 1, 2, 1)],
)
def test_a_ramp_is_a_line_that_ends(start: float, final: float | None, progress: float, expected: float) -> None:
    assert ramp(start, final, progress) == expected


def test_dist_refuses_what_it_cannot_learn_from() -> None:
    with pytest.raises(ConfigError, match=r"inter_weight = 1\.0 with 2 labels"):
        DistKD().check(num_labels=2, whole_batch=True)
    with pytest.raises(ConfigError, match="micro_batch_size"):
        DistKD().check(num_labels=3, whole_batch=False)
    DistKD().check(num_labels=3, whole_batch=True)
    DistKD(intra_weight=0).check(num_labels=3, whole_batch=False)
    DistKD(inter_weight=0).check(num_labels=2, whole_batch=True)


@pytest.mark.parametrize(
    ("make", "settings_", "message"),
    [
        (VanillaKD, {"alpha": 1.5}, r"alpha = 1\.5"),
        (MseKD, {"final_alpha": -0.1}, r"final_alpha = -0\.1"),
        (VanillaKD, {"temperature": 0.0}, r"temperature = 0\.0"),
        (DecoupledKD, {"final_temperature": -1.0}, r"final_temperature = -1\.0"),
        (DistKD, {"inter_weight": 0, "intra_weight": 0}, "one is above 0"),
        (DistKD, {"inter_weight": -1}, "neither is negative"),
    ],
)
def test_settings_out_of_bounds_are_refused(make: Callable[..., Objective], settings_: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**settings_)
