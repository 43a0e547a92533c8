"""Models that latency is measured of."""

import shutil
from pathlib import Path

from raykd.distill.report import _latencies
from tests.unit.data.two_columns import data


def test_models_of_one_shape_have_one_speed(small_world: dict[str, str], tmp_path: Path) -> None:
    """A student with and one without KD are the same network: figures that differ would be the machine's noise."""
    given = data(tmp_path, test1="a\tb\tlabel\n" + "x\ty\t1\n" * 3)
    twin = shutil.copytree(small_world["student"], str(tmp_path / "twin"))
    found = _latencies([(small_world["teacher"],), (small_world["student"],), (twin,)], given)
    assert found[(small_world["student"],)] == found[(twin,)]
    assert found[(small_world["teacher"],)] != found[(twin,)]
