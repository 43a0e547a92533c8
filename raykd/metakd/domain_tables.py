"""The side tables of a Meta-KD run: instance weights and teachers' logits, each made once and cut for every domain."""

from collections.abc import Callable, Mapping, Sequence

from raykd.config import MetaKDConfig
from raykd.config.stage_names import MetaStageName
from raykd.data import storage
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.metakd.compat import Padding, padded_embedder
from raykd.metakd.domain_files import restrict
from raykd.metakd.domain_rows import DomainRows
from raykd.metakd.embeddings import Embedder
from raykd.metakd.prototypes import check_classes, prototypes, weigh
from raykd.metakd.tasks import TeacherKind, run_folder
from raykd.models import model_digest
from raykd.predict import ScoreJob
from raykd.predict.scorer import Scorer
from raykd.run.stage import Stage
from raykd.run.task import TrainTask, key_of, side_digest

Score = Callable[[Sequence[ScoreJob], str, type[Scorer]], list[SideTable]]
"""Runs jobs, with a title for the progress bar."""
Teacher = tuple[TeacherKind, tuple[str, ...]]
"""A kind of teacher, and the domains it was trained on."""


class SideTables:
    """What belongs to training rows beside their tokens."""

    def __init__(self, config: MetaKDConfig, rows: DomainRows, score: Score, need: Callable[[MetaStageName], None]) -> None:
        """``need`` raises ConfigError when a stage has to be run that was not asked for."""
        self._need = need
        self._config = config
        self._rows = rows
        self._score = score
        self._folder = run_folder(config)
        self._weights: dict[tuple[str, ...], SideTable] = {}

    def train_rows(self, domains: tuple[str, ...]) -> TokenisedSet:
        """Training rows as the student reads them."""
        return self._rows.prepared("train", domains, self._config.student.model)

    def weights(self, domains: tuple[str, ...]) -> SideTable:
        """Instance weights and domain ids of the training rows of some domains; computed once, for all of them.

        Raises DataError: rows that have no weight (an unknown domain, a class that is missing), a table of other rows.
        """
        if domains not in self._weights:
            whole = domains == self._config.domains
            self._weights[domains] = self._all_weights() if whole else self._part_of_weights(domains)
        return self._weights[domains]

    def logits(self, teachers: Mapping[Teacher, TrainTask]) -> dict[tuple[TeacherKind, str], SideTable]:
        """Every teacher's logits on its training rows, by the domain whose students read them: each teacher runs once."""
        stages = {teacher: self._logits_stage(teacher, task) for teacher, task in teachers.items()}
        todo = [(teachers[teacher], rows, stage) for teacher, (rows, stage) in stages.items() if not stage.is_done()]
        if todo:
            self._need("logits")
        for _, _, stage in todo:
            stage.begin()
        if todo:
            jobs = [ScoreJob(task.model_folder, rows.path, storage.join(stage.folder, "all")) for task, rows, stage in todo]
            self._score(jobs, "teacher logits", Scorer)
        tables: dict[tuple[TeacherKind, str], SideTable] = {}
        for (kind, domains), (rows, stage) in stages.items():
            chosen = [domain for domain in domains if domain in self._config.chosen_domains]
            folders = {domain: storage.join(stage.folder, domain) for domain in chosen}
            if not stage.is_done():
                whole = SideTable.open(storage.join(stage.folder, "all"))
                for domain, folder in folders.items():
                    restrict(whole, rows, self.train_rows((domain,)), out=folder)
                stage.finish()
            tables |= {(kind, domain): SideTable.open(folder) for domain, folder in folders.items()}
        return tables

    def _logits_stage(self, teacher: Teacher, task: TrainTask) -> tuple[TokenisedSet, Stage]:
        kind, domains = teacher
        rows = self._rows.prepared("train", domains, self._config.teacher.model)
        name = f"logits/{kind}" + (f"-{domains[0]}" if kind == "single" else "")
        return rows, self._stage(name, rows.fingerprint, model_digest(task.model_folder), self._config.chosen_domains)

    def _all_weights(self) -> SideTable:
        settings, domains, column = self._config.weights, self._config.domains, self._rows.columns.domain
        encoder = settings.encoder or self._config.teacher.model
        rows = self._rows.prepared("train", domains, encoder)
        compat = self._config.compat
        inputs = (rows.fingerprint, model_digest(encoder), settings.model_dump(), domains)
        stage = self._stage("weights", *inputs, *filter(None, [compat]))
        folder = storage.join(stage.folder, "all")
        if not stage.is_done():
            self._need("weights")
            check_classes(rows, domain=column, domains=domains)
            stage.begin()
            job = ScoreJob(encoder, rows.path, storage.join(stage.folder, "embeddings"))
            padding = Padding(self._config.sequence_length, rows.pad_token_id)
            embedder = padded_embedder(padding) if compat else Embedder
            embeddings = self._score([job], "embeddings", embedder)[0]
            found = prototypes(rows, embeddings, domain=column, domains=domains)
            kind = "easynlp" if compat else settings.kind
            weigh(rows, embeddings, found, domain=column, domains=domains, out=folder, kind=kind, alpha=settings.alpha)
            stage.finish(counts=found.counts.tolist())
        table = SideTable.open(folder)
        table.check_fits(rows)
        return table

    def _part_of_weights(self, domains: tuple[str, ...]) -> SideTable:
        whole = self.weights(self._config.domains)
        part = "-".join(domains)
        folder = storage.join(self._folder, "weights", f"of-{part}")
        stage = Stage(f"weights {part}", folder, key_of(side_digest(whole), domains))
        if not stage.is_done():
            stage.begin()
            restrict(whole, self.train_rows(self._config.domains), self.train_rows(domains), out=folder)
            stage.finish()
        return SideTable.open(folder)

    def _stage(self, name: str, *inputs: object) -> Stage:
        return Stage(name, storage.join(self._folder, name), key_of(name, *inputs))
