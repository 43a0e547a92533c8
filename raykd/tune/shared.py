"""What all trials of a search share, made once before the first: rows, the teacher and its logits, or the meta-teacher."""

from typing import Protocol

from raykd.config import ExperimentConfig, MetaKDConfig
from raykd.data import storage
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.pipeline import Part, Pipeline
from raykd.errors import ConfigError
from raykd.metakd.pipeline import MetaKDPipeline
from raykd.metakd.tasks import teacher_folder
from raykd.models import model_digest
from raykd.run.progress import Terminal
from raykd.tune.meta_plan import DomainTables, MetaPlan, TeacherTables
from raykd.tune.trial_plan import DistillationPlan, Plan


class Shared(Protocol):
    """The stages of the searched job that come before its students."""

    def check(self) -> None:
        """Find what is wrong with models and files before anything starts. Raises RaykdError."""

    def make(self) -> Plan:
        """Everything that trials share; what is there is left as it is."""

    def test_rows(self) -> dict[str, TokenisedSet]:
        """Rows that the search never sees, by domain, as the student reads them."""

    def teacher(self) -> tuple[str, dict[str, TokenisedSet]] | None:
        """The trained teacher and the same rows as it reads them; none where there is not just one."""

    def close(self) -> None:
        """Let the workers go."""


class SharedDistillation:
    """Teacher and logits of a distillation."""

    def __init__(self, base: ExperimentConfig, terminal: Terminal) -> None:
        self.base = base
        self.pipeline = Pipeline(base, only=(), terminal=terminal)

    def check(self) -> None:
        """See :class:`Shared`."""
        self.pipeline.check()

    def make(self) -> DistillationPlan:
        """See :class:`Shared`."""
        logits = self.pipeline.logits()
        if logits is None:
            raise ConfigError("base: student.objective distils nothing, so there is nothing to search")
        model = self.base.student.model
        own = self.base.teacher is not None and self.base.logits.file is None
        return DistillationPlan(
            base=self.base,
            train=self.pipeline.prepared("train", model).path,
            validation=self.pipeline.prepared("validation", model).path,
            logits=logits.path,
            digest=model_digest(model),
            taught=(self._read("train"), self._read("validation")) if own else None,
        )

    def _read(self, part: Part) -> str:
        """Rows as the one teacher reads them."""
        return self.pipeline.prepared(part, self.base.every_teacher[0].model).path

    def test_rows(self) -> dict[str, TokenisedSet]:
        """See :class:`Shared`."""
        return {"": self.pipeline.prepared("test", self.base.student.model)}

    def teacher(self) -> tuple[str, dict[str, TokenisedSet]] | None:
        """See :class:`Shared`."""
        teachers = self.pipeline.teaching.candidates()
        if len(teachers) != 1:  # of several none says alone what students learn from
            return None
        return teachers[0].model, {"": self.pipeline.prepared("test", teachers[0].tokenizer)}

    def close(self) -> None:
        """See :class:`Shared`."""
        self.pipeline.close()


class SharedMeta:
    """The meta-teacher, its logits and the instance weights."""

    def __init__(self, base: MetaKDConfig, terminal: Terminal) -> None:
        self.base = base.model_copy(update={"baselines": (), "storage": storage.absolute(base.storage)})
        self.pipeline = MetaKDPipeline(self.base, terminal)

    def check(self) -> None:
        """See :class:`Shared`; rows are split, which shows what is wrong with them."""
        self.pipeline.check()
        self.pipeline.rows.split()

    def make(self) -> MetaPlan:
        """See :class:`Shared`."""
        tables, rows, model = self.pipeline.tables, self.pipeline.rows, self.base.student.model
        logits = tables.logits(self.pipeline.teachers())
        every, theirs = self.base.domains, self.base.teacher.model
        return MetaPlan(
            base=self.base,
            teacher=teacher_folder(self.base, "meta", every),
            taught=TeacherTables(
                train=rows.prepared("train", every, theirs).path,
                dev=rows.prepared("dev", every, theirs).path,
                weights=tables.weights(every).path,
            ),
            tables={
                domain: DomainTables(
                    train=tables.train_rows((domain,)).path,
                    dev=rows.prepared("dev", (domain,), model).path,
                    weights=tables.weights((domain,)).path,
                    logits=logits["meta", domain].path,
                )
                for domain in self.base.chosen_domains
            },
        )

    def test_rows(self) -> dict[str, TokenisedSet]:
        """See :class:`Shared`."""
        return self._test_rows(self.base.student.model)

    def teacher(self) -> tuple[str, dict[str, TokenisedSet]] | None:
        """See :class:`Shared`."""
        folder = teacher_folder(self.base, "meta", self.base.domains)
        return storage.join(folder, "model"), self._test_rows(self.base.teacher.model)

    def _test_rows(self, model: str) -> dict[str, TokenisedSet]:
        return {domain: self.pipeline.rows.prepared("test", (domain,), model) for domain in self.base.chosen_domains}

    def close(self) -> None:
        """See :class:`Shared`."""
        self.pipeline.close()


def shared_of(base: ExperimentConfig | MetaKDConfig, terminal: Terminal) -> SharedDistillation | SharedMeta:
    """The stages of a job of either kind."""
    return SharedMeta(base, terminal) if isinstance(base, MetaKDConfig) else SharedDistillation(base, terminal)
