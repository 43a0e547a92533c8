"""Systems of a report as flat records: numbers as they are, for data frames."""

from collections.abc import Mapping, Sequence
from typing import Any

from raykd.report.comparison import Comparison
from raykd.report.domain_accuracy import SystemRow
from raykd.report.system import Spread, System


def comparison_records(comparison: Comparison) -> list[dict[str, Any]]:
    """One record a system: metrics as means over seeds, each beside its standard deviation (None for one seed)."""
    return [_system_record(system) for system in comparison.systems]


def domain_records(lines: Sequence[SystemRow]) -> list[dict[str, Any]]:
    """One record a system of a Meta-KD report: accuracy by domain, and the mean over domains."""
    return [
        {
            "role": line.role,
            "teacher": line.teacher,
            "method": line.method,
            "seeds": len(line.average.values),
            **spread_columns({**line.domains, "average": line.average}),
        }
        for line in lines
    ]


def spread_columns(metrics: Mapping[str, Spread | None]) -> dict[str, float | None]:
    """Two columns a metric: ``NAME`` and ``NAME_sd``."""
    columns: dict[str, float | None] = {}
    for name, spread in metrics.items():
        if spread is not None:
            columns |= {name: spread.mean, f"{name}_sd": spread.sd}
    return columns


def _system_record(system: System) -> dict[str, Any]:
    size, latency, work = system.footprint, system.latency, system.work
    return {
        "role": system.role,
        "name": system.name,
        "seeds": len(system.seeds),
        **spread_columns({**system.metrics, "retention": system.retention}),
        "parameters": None if size is None else size.parameters,
        "bytes_on_disk": None if size is None else size.bytes_on_disk,
        "rows_per_second": None if latency is None else latency.rows_per_second,
        "p50_ms": None if latency is None else latency.p50_ms,
        "speed_up": system.speed_up,
        "training_rows": None if work is None else work.rows,
        "training_steps": None if work is None else work.steps,
    }
