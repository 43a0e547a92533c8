"""Records of systems for data frames."""

from collections.abc import Callable

from raykd.report.comparison import Comparison
from raykd.report.system import spread
from raykd.report.table_records import comparison_records, spread_columns
from tests.unit.report.comparisons import SIZE, fill


def test_a_record_has_every_metric_with_its_spread(invent: Callable[..., Comparison]) -> None:
    comparison = fill(invent())
    for record, system in zip(comparison_records(comparison), comparison.systems, strict=True):
        assert record["accuracy"] == system.metrics["accuracy"].mean
        assert record["accuracy_sd"] == system.metrics["accuracy"].sd
        assert record["parameters"] == SIZE.parameters
        assert record["rows_per_second"] == 1234.5
        assert record.get("retention") == (system.retention.mean if system.retention else None)


def test_one_seed_has_no_spread() -> None:
    assert spread_columns({"accuracy": spread([0.5]), "f1": None}) == {"accuracy": 0.5, "accuracy_sd": None}
