"""Numbers in the cells of reports."""

from raykd.report.cells import count, size
from raykd.task_kinds import SINGLE_LABEL


def test_numbers_read_well():
    assert [count(number) for number in (7, 1_500, 109_483_778, 2e9)] == ["7", "1.5 k", "109.5 M", "2.0 G"]
    assert [size(number) for number in (7, 3_290_886)] == ["7 B", "3.3 MB"]
    shown = [SINGLE_LABEL.headline.difference(value) for value in (0.0351, -0.0351, 0.0, -0.0001)]
    assert shown == [
        "+3.5",
        "−3.5",
        "+0.0",
        "+0.0",
    ]
