"""Side tables of a Meta-KD run: instance weights and teacher logits, each computed once and cut for every domain."""

from collections.abc import Mapping

from raykd.config import MetaKDConfig
from raykd.data import storage
from raykd.data.side_tables import SideTable, restrict
from raykd.data.tokenised_set import TokenisedSet
from raykd.metakd.compat import Padding, padded_embedder
from raykd.metakd.domain_rows import DomainRows
from raykd.metakd.embeddings import Embedder
from raykd.metakd.prototypes import prototypes, weigh
from raykd.metakd.tasks import TeacherKind, logits_subfolder
from raykd.models import model_digest
from raykd.predict import ScoreJob
from raykd.run.stages import Stage, StageRunner
from raykd.run.task import TrainTask, side_digest

TeacherKey = tuple[TeacherKind, tuple[str, ...]]
"""Kind of a teacher, and the domains it is trained on."""


class DomainSideTables:
    """Instance weights and teacher logits of training rows."""

    def __init__(self, config: MetaKDConfig, rows: DomainRows, runner: StageRunner) -> None:
        self._config = config
        self._rows = rows
        self._runner = runner
        self._weights: dict[tuple[str, ...], SideTable] = {}

    def train_rows(self, domains: tuple[str, ...]) -> TokenisedSet:
        """Training rows as the student reads them."""
        return self._rows.tokenised("train", domains, self._config.student.model)

    def weights(self, domains: tuple[str, ...]) -> SideTable:
        """Instance weights and domain ids of the training rows of some domains; computed once, for all of them.

        Raises DataError: rows that have no weight (an unknown domain, a class that is missing), a table of other rows.
        """
        if domains not in self._weights:
            every = domains == self._config.domains
            self._weights[domains] = self._all_weights() if every else self._subset_weights(domains)
        return self._weights[domains]

    def logits(self, teachers: Mapping[TeacherKey, TrainTask]) -> dict[tuple[TeacherKind, str], SideTable]:
        """Every teacher's logits on its training rows, by the domain whose students read them: each teacher runs once."""
        stages = {self._logits_stage(teacher, task): teacher for teacher, task in teachers.items()}
        jobs = {
            stage: [
                ScoreJob(teachers[teacher].model_folder, self._teacher_rows(teacher).path, storage.join(stage.folder, "all"))
            ]
            for stage, teacher in stages.items()
        }

        def cut(stage: Stage) -> None:
            whole = SideTable.open(storage.join(stage.folder, "all"))
            for domain, folder in self._domain_folders(stage, stages[stage]).items():
                restrict(whole, self._teacher_rows(stages[stage]), self.train_rows((domain,)), out=folder)

        self._runner.score_stages(jobs, "teacher logits", convert=cut)
        return {
            (teacher[0], domain): SideTable.open(folder)
            for stage, teacher in stages.items()
            for domain, folder in self._domain_folders(stage, teacher).items()
        }

    def _teacher_rows(self, teacher: TeacherKey) -> TokenisedSet:
        return self._rows.tokenised("train", teacher[1], self._config.teacher.model)

    def _domain_folders(self, stage: Stage, teacher: TeacherKey) -> dict[str, str]:
        """Folder of a teacher's logits on the rows of each domain whose students read them."""
        chosen = self._config.chosen_domains
        return {domain: storage.join(stage.folder, domain) for domain in teacher[1] if domain in chosen}

    def _logits_stage(self, teacher: TeacherKey, task: TrainTask) -> Stage:
        rows = self._teacher_rows(teacher)
        inputs = rows.fingerprint, model_digest(task.model_folder), self._config.chosen_domains
        return self._runner.stage(logits_subfolder(*teacher), *inputs)

    def _all_weights(self) -> SideTable:
        settings, domains, column = self._config.weights, self._config.domains, self._rows.columns.domain
        encoder = settings.encoder or self._config.teacher.model
        rows = self._rows.tokenised("train", domains, encoder)
        compat = self._config.compat
        inputs = (rows.fingerprint, model_digest(encoder), settings.model_dump(), domains)
        stage = self._runner.stage("weights", *inputs, *filter(None, [compat]))
        folder = storage.join(stage.folder, "all")
        if not stage.is_done():
            self._runner.require("weights")
            stage.begin()
            job = ScoreJob(encoder, rows.path, storage.join(stage.folder, "embeddings"))
            padding = Padding(self._config.sequence_length, rows.pad_token_id)
            embedder = padded_embedder(padding) if compat else Embedder
            embeddings = self._runner.score([job], "embeddings", embedder)[0]
            found = prototypes(rows, embeddings, domain=column, domains=domains)
            kind = "easynlp" if compat else settings.kind
            weigh(rows, embeddings, found, domain=column, domains=domains, out=folder, kind=kind, alpha=settings.alpha)
            stage.finish(counts=found.counts.tolist())
        table = SideTable.open(folder)
        table.check_fits(rows)
        return table

    def _subset_weights(self, domains: tuple[str, ...]) -> SideTable:
        whole = self.weights(self._config.domains)
        stage = self._runner.stage(f"weights/of-{'-'.join(domains)}", side_digest(whole), domains)
        if not stage.is_done():
            stage.begin()
            restrict(whole, self.train_rows(self._config.domains), self.train_rows(domains), out=stage.folder)
            stage.finish()
        return SideTable.open(stage.folder)
