"""The table of a Meta-KD run from the logits of its models: accuracies by domain, and the verdicts on them."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from raykd.config import MetaKDConfig
from raykd.data.overlap import Overlap
from raykd.metakd.model_temperatures import DomainLabels, DomainLogits, calibration
from raykd.metakd.report import TITLES, MetaReport, method_title
from raykd.metakd.tasks import TEACHER_OF, TeacherKind, methods
from raykd.report.domain_accuracy import CorrectRows, SystemRow, contrast, correct_rows, system_row
from raykd.report.environment import environment
from raykd.report.system import Spread


def compare_systems(
    config: MetaKDConfig,
    scores: Sequence[DomainLogits],
    labels: DomainLabels,
    temperatures: Mapping[str, float],
    overlaps: Sequence[Overlap],
) -> MetaReport:
    """The report of a run. ``labels`` are those of the test rows, ``temperatures`` belong to the model folders."""
    systems = _correct_rows(scores, labels)
    ours = (method_title("meta_kd"), systems["meta_kd"])
    others = [method for method in methods(config) if method != "meta_kd"]
    return MetaReport(
        name=config.name,
        rows={domain: len(one) for domain, one in labels.items()},
        seeds=config.student.seeds,
        lines=tuple(_lines(config, systems, calibration(scores, temperatures, labels))),
        contrasts=tuple(contrast(ours, (method_title(method), systems[method])) for method in others),
        warnings=tuple(map(str, overlaps)),
        environment=environment(),
    )


def _correct_rows(scores: Sequence[DomainLogits], labels: DomainLabels) -> dict[str, CorrectRows]:
    """By system, the rows that its models answer correctly; systems that miss a domain are left out."""
    found: dict[str, dict[str, list[NDArray[np.float32]]]] = {}
    for one in scores:
        found.setdefault(one.system, {}).setdefault(one.domain, []).append(one.test)
    return {
        system: {domain: correct_rows(by_domain[domain], labels[domain]) for domain in labels}
        for system, by_domain in found.items()
        if set(by_domain) >= set(labels)
    }


def _lines(
    config: MetaKDConfig, systems: Mapping[str, CorrectRows], fitted: Mapping[str, dict[str, Spread]]
) -> Iterator[SystemRow]:
    kinds: tuple[TeacherKind, ...] = ("single", "mixed", "meta")
    for kind in kinds:
        if f"{kind} teacher" in systems:
            yield system_row("teacher", TITLES[kind], "–", systems[f"{kind} teacher"], fitted[f"{kind} teacher"])
    for method in methods(config):
        teacher = TITLES[TEACHER_OF[method]] if method in TEACHER_OF else "–"
        yield system_row("student", teacher, TITLES[method], systems[method], fitted[method])
