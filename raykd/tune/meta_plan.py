"""What a trial of a Meta-KD job trains: for each domain stage first and then stage second."""

from collections.abc import Mapping
from dataclasses import dataclass

from raykd.config import MetaKDConfig
from raykd.config.tune import BaseConfig
from raykd.data import storage
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.metakd.tasks import Rows, Student, first_task, label_task, run_folder, second_task, teacher_task
from raykd.models import model_digest
from raykd.tune.trial_plan import Adapt, Chain, Variant
from raykd.tune.trial_teacher import TrialTeacher, lesson


@dataclass(frozen=True)
class DomainTables:
    """What the students of one domain read; paths."""

    train: str
    dev: str
    weights: str
    logits: str


@dataclass(frozen=True)
class TeacherTables:
    """What a meta-teacher reads; paths."""

    train: str
    dev: str
    weights: str


@dataclass(frozen=True)
class MetaPlan:
    """Students of a meta-teacher: a chain for each domain, stage first and then stage second."""

    base: MetaKDConfig
    teacher: str
    """Folder of the meta-teacher's task."""
    taught: TeacherTables
    """Rows of all domains."""
    tables: Mapping[str, DomainTables]
    """By domain."""

    @property
    def links(self) -> int:
        """One training where the objective is a single one."""
        return 1 if self.base.student.mode == "single" else 2

    def lesson(self, config: BaseConfig) -> TrialTeacher | None:
        """See :class:`~raykd.tune.trial_plan.Plan`."""
        config = _meta(config)
        if config.teacher == self.base.teacher:
            return None
        train = TokenisedSet.open(self.taught.train)
        rows = Rows(train, TokenisedSet.open(self.taught.dev), None, (SideTable.open(self.taught.weights),))
        task = teacher_task(config, "meta", config.domains, rows, model_digest(config.teacher.model))
        parts = {domain: tables.train for domain, tables in self.tables.items()}
        return lesson(task, folder=run_folder(self.base), rows=train.path, parts=parts)

    def chains(self, config: BaseConfig, *, variant: Variant, seed: int, folder: str, adapt: Adapt) -> dict[str, Chain]:
        """A chain for each of the chosen domains."""
        config = _meta(config)
        own = None if variant == "no_kd" else self.lesson(config)
        return {
            domain: self._chain(
                config, Student("hard_labels" if variant == "no_kd" else "meta_kd", domain, seed),
                own=own, folder=storage.join(folder, domain), adapt=adapt,
            )
            for domain in self.tables
        }  # fmt: skip

    def _chain(self, config: MetaKDConfig, student: Student, *, own: TrialTeacher | None, folder: str, adapt: Adapt) -> Chain:
        digest, single, domain = model_digest(config.student.model), self.links == 1, student.domain
        if student.method == "hard_labels":
            task = label_task(config, student, self._rows(domain, chooses=True), digest)
            yield adapt(task.model_copy(update={"folder": folder}), domain=domain, last=True)
            return
        teacher = self.teacher if own is None else own.task.folder
        first = first_task(
            config,
            student,
            self._rows(domain, chooses=single, weighted=True),
            digest,
            teacher=teacher,
            teacher_digest=model_digest(storage.join(teacher, "model")),
        )
        place = folder if single else storage.join(folder, "first")
        first = adapt(first.model_copy(update={"folder": place}), domain=domain, last=single)
        yield first
        if not single:
            logits = self.tables[domain].logits if own is None else own.logits(domain)
            rows = self._rows(domain, chooses=True, weighted=True, logits=logits)
            second = second_task(config, student, rows, first=first, digest=model_digest(first.model_folder))
            yield adapt(second.model_copy(update={"folder": folder}), domain=domain, last=True)

    def _rows(self, domain: str, *, chooses: bool, weighted: bool = False, logits: str | None = None) -> Rows:
        tables = self.tables[domain]
        return Rows(
            TokenisedSet.open(tables.train),
            TokenisedSet.open(tables.dev) if chooses else None,
            SideTable.open(logits) if logits else None,
            (SideTable.open(tables.weights),) if weighted else (),
        )


def _meta(config: BaseConfig) -> MetaKDConfig:
    if not isinstance(config, MetaKDConfig):
        raise TypeError(f"a Meta-KD plan was given {type(config).__name__}")
    return config
