"""Kinds of jobs that ``raykd run`` runs, by the class of their configuration. Heavy libraries load when a job is run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from raykd.config import ExperimentConfig, MetaKDConfig
from raykd.errors import ConfigError
from raykd.stage_names import META_STAGES, STAGES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from raykd.metakd.report import MetaReport
    from raykd.progress import Terminal
    from raykd.report.comparison import Comparison
    from raykd.report.report_view import ReportView

RunConfig = TypeVar("RunConfig", ExperimentConfig, MetaKDConfig)
Report = TypeVar("Report")


@dataclass(frozen=True)
class ModelPlace:
    """Place of a trained model in a run's folder."""

    role: Literal["teacher", "student"]
    name: str
    """Name of a teacher, a student's variant, or its method in Meta-KD."""
    folder: str
    """Folder of the model, relative to the run's."""
    seed: int | None = None
    domain: str | None = None
    """Domain of a Meta-KD model; None where it is for all."""
    given: bool = False
    """True for a teacher that was not trained in the run; its folder is the model as the job names it."""


class JobKind(ABC, Generic[RunConfig, Report]):
    """A kind of job: its stages, its summary without running it, its run, and its report."""

    stages: tuple[str, ...]
    """Names of its stages, in order."""

    def choose(self, names: Sequence[str]) -> list[Any]:
        """Stages of these names, in order. Raises ConfigError for a name that is none."""
        for name in names:
            if name not in self.stages:
                raise ConfigError(f"stage {name}: there is no such stage; stages are {', '.join(self.stages)}")
        return [name for name in self.stages if name in names]

    @abstractmethod
    def outline(self, config: RunConfig, stages: Sequence[Any]) -> str:
        """Describe the stages, all if none is given, without running them."""

    @abstractmethod
    def run(self, config: RunConfig, stages: Sequence[Any], terminal: Terminal | None = None) -> Report | None:
        """Run the stages, all if none is given; return the report if it is among them. Raises RaykdError."""

    @abstractmethod
    def models(self, config: RunConfig) -> list[ModelPlace]:
        """Places of all models of a finished run, students by variant and seed."""

    @abstractmethod
    def read(self, folder: str) -> Report:
        """Read the report of a folder. Raises RaykdError."""

    @abstractmethod
    def show(self, report: Report) -> None:
        """Print the report on standard output."""

    @abstractmethod
    def view(self, report: Report) -> ReportView:
        """Table and verdicts of the report."""

    @abstractmethod
    def records(self, report: Report) -> list[dict[str, Any]]:
        """One flat record for each system of the report."""

    @abstractmethod
    def figure(self, report: Report) -> Figure:
        """Metrics of all systems over seeds."""


class DistillationKind(JobKind[ExperimentConfig, "Comparison"]):
    """Distillations: job files without ``kind``."""

    stages = STAGES

    def outline(self, config: ExperimentConfig, stages: Sequence[Any]) -> str:
        """Describe the stages."""
        from raykd.distill.dry_run import outline

        return outline(config, stages)

    def run(self, config: ExperimentConfig, stages: Sequence[Any], terminal: Terminal | None = None) -> Comparison | None:
        """Run the stages."""
        from raykd.distill.pipeline import run_experiment

        return run_experiment(config, only=stages, terminal=terminal)

    def models(self, config: ExperimentConfig) -> list[ModelPlace]:
        """Teachers and students."""
        from raykd.distill.tasks import student_models, teacher_models

        found = [ModelPlace("teacher", name, folder, given=given) for name, folder, given in teacher_models(config)]
        return found + [ModelPlace("student", name, folder, seed) for name, seed, folder in student_models(config)]

    def read(self, folder: str) -> Comparison:
        """Read the report."""
        from raykd.report.files import read_report

        return read_report(folder)

    def show(self, report: Comparison) -> None:
        """Print the report."""
        from raykd.progress import print_result
        from raykd.report.terminal import render

        print_result(render(report), summary=report.verdict())

    def view(self, report: Comparison) -> ReportView:
        """Table and verdicts."""
        from raykd.report.report_view import comparison_view

        return comparison_view(report)

    def records(self, report: Comparison) -> list[dict[str, Any]]:
        """Records of the systems."""
        from raykd.report.table_records import comparison_records

        return comparison_records(report)

    def figure(self, report: Comparison) -> Figure:
        """Metrics of the systems."""
        from raykd.report.plots import metric_figure

        return metric_figure(report)


class MetaKDKind(JobKind[MetaKDConfig, "MetaReport"]):
    """Distillations across domains: ``kind: meta_kd``."""

    stages = META_STAGES

    def outline(self, config: MetaKDConfig, stages: Sequence[Any]) -> str:
        """Describe the stages."""
        from raykd.metakd.dry_run import outline

        return outline(config, stages)

    def run(self, config: MetaKDConfig, stages: Sequence[Any], terminal: Terminal | None = None) -> MetaReport | None:
        """Run the stages."""
        from raykd.metakd.pipeline import run_meta_kd

        return run_meta_kd(config, only=stages, terminal=terminal)

    def models(self, config: MetaKDConfig) -> list[ModelPlace]:
        """Teachers and students."""
        from raykd.metakd.tasks import students, teacher_subfolder, teachers

        found = [
            ModelPlace("teacher", kind, f"{teacher_subfolder(kind, domains)}/model", domain=_only(domains))
            for kind, domains in teachers(config)
        ]
        trained = [one for distilled in (False, True) for one in students(config, distilled=distilled)]
        return found + [ModelPlace("student", one.method, f"{one.folder}/model", one.seed, one.domain) for one in trained]

    def read(self, folder: str) -> MetaReport:
        """Read the report."""
        from raykd.metakd.report import read

        return read(folder)

    def show(self, report: MetaReport) -> None:
        """Print the report."""
        from raykd.metakd.report import render, sentence
        from raykd.progress import print_result

        print_result(render(report), summary="\n".join(map(sentence, report.contrasts)))

    def view(self, report: MetaReport) -> ReportView:
        """Table and verdicts."""
        from raykd.metakd.report import view

        return view(report)

    def records(self, report: MetaReport) -> list[dict[str, Any]]:
        """Records of the systems."""
        from raykd.report.table_records import domain_records

        return domain_records(report.lines)

    def figure(self, report: MetaReport) -> Figure:
        """Accuracies by domain."""
        from raykd.report.domain_plot import domain_figure

        return domain_figure(report.lines)


def _only(domains: Sequence[str]) -> str | None:
    return domains[0] if len(domains) == 1 else None


RUN_KINDS: dict[type, JobKind[Any, Any]] = {ExperimentConfig: DistillationKind(), MetaKDConfig: MetaKDKind()}
