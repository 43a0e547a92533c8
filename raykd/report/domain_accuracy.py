"""Accuracies by domain on labelled rows, and verdicts between two systems in the mean over domains."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from raykd.metrics.resampling import RowMean
from raykd.report.bootstrap import Verdict, stratified_bootstrap
from raykd.report.record import Record
from raykd.report.system import Spread, spread
from raykd.task_kinds import SINGLE_LABEL, TaskKind

CorrectRows = Mapping[str, NDArray[np.bool_]]
"""By domain, whether each seed answers each test row correctly, ``[S, N]``."""


class SystemRow(Record):
    """One row of the table: a system's accuracies."""

    role: Literal["teacher", "student"]
    teacher: str
    """Its teacher; a dash without one."""
    method: str
    """Training method; a dash for teachers."""
    domains: dict[str, Spread]
    """Accuracy on each domain's test rows, over seeds."""
    average: Spread
    """Mean over domains, one value a seed: the paper's last column."""
    calibration: dict[str, Spread] = Field(default_factory=dict)
    """On the test rows, one value a model: `ece`, `ece_calibrated` (after temperature scaling) and `temperature`."""


class MethodContrast(Record):
    """One system against another, in the mean over domains."""

    candidate: str
    reference: str
    result: Verdict


def correct_rows(
    logits: Sequence[NDArray[np.float32]], labels: NDArray[Any], kind: TaskKind = SINGLE_LABEL
) -> NDArray[np.bool_]:
    """Rows that each seed answers correctly, ``[S, N]``, from logits ``[N, C]`` each; the headline must be a mean over rows."""
    metric = kind.resampled([str(index) for index in range(logits[0].shape[1])])[kind.headline.name]
    assert isinstance(metric, RowMean)
    return np.stack([metric.correct(labels, one) for one in logits])


def system_row(
    role: Literal["teacher", "student"],
    teacher: str,
    method: str,
    correct: CorrectRows,
    calibration: Mapping[str, Spread] | None = None,
) -> SystemRow:
    """Accuracies of one system, and its calibration where that was measured."""
    by_domain = {domain: spread([float(one.mean()) for one in rows]) for domain, rows in correct.items()}
    averages = np.mean([one.values for one in by_domain.values()], axis=0)
    return SystemRow(
        role=role,
        teacher=teacher,
        method=method,
        domains=by_domain,
        average=spread(averages.tolist()),
        calibration=dict(calibration or {}),
    )


def contrast(candidate: tuple[str, CorrectRows], reference: tuple[str, CorrectRows]) -> MethodContrast:
    """Paired bootstrap over the rows of each domain and the seeds; domains count alike, as in the table's average."""
    result = stratified_bootstrap(candidate[1], {domain: reference[1][domain] for domain in candidate[1]})
    return MethodContrast(candidate=candidate[0], reference=reference[0], result=result)
