"""Layer maps: uniform, last, explicit."""

import pytest

from raykd.errors import ConfigError
from raykd.trainers.features.layer_map import layer_map


def test_the_uniform_map_takes_every_nth_layer() -> None:
    assert layer_map("uniform", student=2, teacher=4) == ((1, 2), (2, 4))
    assert layer_map([[1, 3], [2, 3]], student=2, teacher=4) == ((1, 3), (2, 3))
    assert layer_map("last", student=2, teacher=5) == ((2, 5),)


@pytest.mark.parametrize(
    ("layers", "student", "message"),
    [
        ("uniform", 3, "4 teacher layers cannot be divided evenly among 3 student layers"),
        ([[3, 4]], 2, r"\[3, 4\] is not a pair of a student layer 1 .. 2"),
        ([[1, 0]], 2, r"teacher layer 1 .. 4"),
        ([[1, 2], [1, 3]], 2, "each student layer once"),
        ([], 2, "at least one pair"),
    ],
)
def test_maps_that_do_not_fit_are_refused(layers: object, student: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        layer_map(layers, student=student, teacher=4)  # type: ignore[arg-type]  # any form of the setting
