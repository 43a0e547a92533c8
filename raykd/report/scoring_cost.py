"""Cost of scoring: seconds of one prediction actor for 1,000 rows, as the scoring of the report's rows took them."""

from collections.abc import Mapping
from typing import Any

from raykd.report.record import Record

UNIT_ROWS = 1000


class ScoringCost(Record):
    """Seconds of one actor for 1,000 rows."""

    seconds: float
    """Seconds for 1,000 rows; the loading of the model is left out."""
    device: str
    """cpu or cuda."""


def scoring_cost(provenance: Mapping[str, Any], rows: int) -> ScoringCost | None:
    """The cost of a side table that a scoring made, by its provenance; None for another table."""
    seconds, devices = provenance.get("seconds"), provenance.get("device")
    if seconds is None or not devices or not rows:
        return None
    return ScoringCost(seconds=UNIT_ROWS * seconds / rows, device=" and ".join(devices))
