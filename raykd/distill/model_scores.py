"""Logits of the trained models on the rows of the report, and on the validation rows that fit their temperatures."""

from collections.abc import Sequence
from typing import Literal

from raykd.config import ExperimentConfig
from raykd.config.data import TASKS
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.report import Candidate
from raykd.distill.split_rows import SplitRows
from raykd.distill.teachers import ENSEMBLE, Teachers
from raykd.models import model_digest
from raykd.run.stages import Stage, StageRunner
from raykd.run.task import side_digest
from raykd.stage_names import Split

ScoredModels = Sequence[tuple[Candidate, SideTable]]
"""Models with their logits on the rows of the report."""


class ModelScores:
    """The logits of one experiment's models; each table is made if it is not there."""

    def __init__(self, config: ExperimentConfig, runner: StageRunner, splits: SplitRows, teachers: Teachers) -> None:
        self._config, self._runner, self._splits, self._teachers = config, runner, splits, teachers
        self.report_split: Literal["test", "validation"] = "test" if config.data.has_test_set else "validation"
        """The split of the report: test, where there is one."""

    def of(self, candidates: Sequence[Candidate]) -> list[tuple[Candidate, SideTable]]:
        """The models, after the average of several teachers, with their logits on the rows of the report.

        Logits on the validation rows are made in the same execution.
        """
        jobs = {
            stage: [one.job(self._rows_of(one, split), stage.folder)]
            for one in candidates
            for split in self._scored_splits(one)
            for stage in [self._scores(one, split)]
        }
        self._runner.score_stages(jobs, f"{self.report_split} rows", for_report=True)
        scored = [(one, SideTable.open(self._scores(one, self.report_split).folder)) for one in candidates]
        return [*self._ensemble(scored), *scored]

    def validation(self, scored: ScoredModels) -> dict[str, SideTable]:
        """Logits of the models on the validation rows, by the candidate's name; those that have none are absent."""
        if not self._calibrates:
            return {}
        if self.report_split == "validation":
            return {candidate.name: side for candidate, side in scored}
        given = self._teachers.validation
        made = {one.name: self._scores(one, "validation").folder for one, _ in scored if one.model}
        return {**{name: SideTable.open(folder) for name, folder in made.items() if name not in given}, **given}

    def _scores(self, candidate: Candidate, split: Split) -> Stage:
        """The stage of a model's logits on a split."""
        folder = "evaluation" if split == self.report_split else "evaluation/validation"
        rows = self._rows_of(candidate, split)
        name = f"{folder}/{candidate.name.replace(' ', '-')}"
        asked = [] if candidate.prompted is None else [candidate.prompted.key]
        return self._runner.stage(name, rows.fingerprint, model_digest(candidate.model), *asked)

    def _rows_of(self, candidate: Candidate, split: Split) -> TokenisedSet:
        prompts = None if candidate.prompted is None else candidate.prompted.tokenizer
        return self._splits.tokenised(split, candidate.tokenizer, prompts)

    def _scored_splits(self, candidate: Candidate) -> list[Split]:
        """The splits that a model scores for the report: not the validation rows where its logits on them exist."""
        validated = not self._calibrates or candidate.name in self._teachers.validation
        return [self.report_split] if validated or self.report_split == "validation" else ["test", "validation"]

    @property
    def _calibrates(self) -> bool:
        """True when the outputs are probabilities and the rows have labels, so that temperatures can be fitted."""
        return self._config.data.label is not None and TASKS[self._config.data.task].outputs != "values"

    def _ensemble(self, scored: ScoredModels) -> list[tuple[Candidate, SideTable]]:
        """The average of several teachers, which students learn from, as a system of its own."""
        teachers = [(candidate, side) for candidate, side in scored if candidate.role == "teacher"]
        if len(teachers) < 2:
            return []
        sides = [side for _, side in teachers]
        name = f"evaluation/{ENSEMBLE.replace(' ', '-')}"
        stage = self._runner.stage(name, [side_digest(side) for side in sides], self._teachers.weights)
        if not stage.is_done():
            stage.begin()
            self._teachers.average(sides, self._rows_of(teachers[0][0], self.report_split), stage.folder)
            stage.finish()
        members = tuple(candidate.model for candidate, _ in teachers)
        asked = next((one.prompted for one, _ in teachers if one.prompted is not None), None)
        candidate = Candidate("teacher", ENSEMBLE, None, "", teachers[0][0].tokenizer, None, members, asked)
        return [(candidate, SideTable.open(stage.folder))]
