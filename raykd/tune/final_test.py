"""The test at the end of a search: every system scores the test rows once. Nothing else in a search reads them."""

from dataclasses import dataclass

from raykd.config import TuneConfig
from raykd.data import storage
from raykd.data.tokenised_set import TokenisedSet
from raykd.models import model_digest
from raykd.predict import ScoreJob
from raykd.report.domain_accuracy import CorrectRows, correct_rows
from raykd.report.load_tables import load_labels, load_logits
from raykd.run.stages import StageRunner
from raykd.task_kinds import task_kind
from raykd.tune.final_trainings import FinalTraining

TestRows = dict[str, TokenisedSet]
"""Test rows by domain."""


@dataclass(frozen=True)
class SystemScores:
    """The scoring of one model on the test rows of one domain."""

    system: str
    domain: str
    job: ScoreJob


@dataclass(frozen=True)
class FinalTest:
    """Scores students and teachers on the test rows."""

    config: TuneConfig
    runner: StageRunner
    """Scores in the search's folder."""

    def run(
        self, students: list[FinalTraining], rows: TestRows, teachers: dict[str, str], teacher_rows: TestRows
    ) -> dict[str, CorrectRows]:
        """By system and domain, which test rows each seed has right. ``teachers`` maps systems to model folders."""
        scores = [*self._student_scores(students, rows), *self._teacher_scores(teachers, teacher_rows)]
        self._score([one.job for one in scores])
        labels = {domain: load_labels(own.path) for domain, own in rows.items()}
        outputs: dict[str, dict[str, list[str]]] = {}
        for one in scores:
            outputs.setdefault(one.system, {}).setdefault(one.domain, []).append(one.job.output)
        return {
            system: {
                domain: correct_rows(
                    [load_logits(output) for output in found], labels[domain], task_kind(self.config.base.task)
                )
                for domain, found in by_domain.items()
            }
            for system, by_domain in outputs.items()
        }

    def _student_scores(self, students: list[FinalTraining], rows: TestRows) -> list[SystemScores]:
        found = []
        for one in students:
            output = self._output(f"{one.system}-{one.domain or 'all'}-seed{one.seed}")
            job = ScoreJob(one.task.model_folder, rows[one.domain].path, output)
            found.append(SystemScores(one.system, one.domain, job))
        return found

    def _teacher_scores(self, teachers: dict[str, str], rows: TestRows) -> list[SystemScores]:
        return [
            SystemScores(system, domain, ScoreJob(model, own.path, self._output(f"{system}-{domain or 'all'}")))
            for system, model in teachers.items()
            for domain, own in rows.items()
        ]

    def _output(self, name: str) -> str:
        return storage.join(self.runner.folder, "test", name)

    def _score(self, jobs: list[ScoreJob]) -> None:
        inputs = [(TokenisedSet.open(job.prepared).fingerprint, model_digest(job.model), job.output) for job in jobs]
        self.runner.score_stages({self.runner.stage("test", inputs): jobs}, "test rows", for_report=True)
