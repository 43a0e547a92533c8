"""Searches of a Meta-KD job: trials share the meta-teacher, its logits, the instance weights and intermediate models."""

from collections.abc import Mapping
from dataclasses import dataclass

from raykd.config import MetaKDConfig
from raykd.data import storage
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.metakd.build_meta_objective import build_meta_objective
from raykd.metakd.pipeline import MetaKDPipeline
from raykd.metakd.tasks import Student, intermediate_task, label_task, prediction_task, teacher_folder, teacher_task
from raykd.models import model_digest
from raykd.progress import Terminal
from raykd.run.build_objective import BuildObjective
from raykd.run.task import TaskInputs, model_folder, run_folder
from raykd.tune.jobs.job_plan import AdaptTask, JobPlan, TaskChain, Variant, moved_task
from raykd.tune.trial_teacher import TrialTeacher, make_trial_teacher


@dataclass(frozen=True)
class StudentTables:
    """Paths of the input of one domain's students."""

    train: str
    validation: str
    weights: str
    logits: str


@dataclass(frozen=True)
class TeacherTables:
    """Paths of a meta-teacher's input: the rows of all domains."""

    train: str
    validation: str
    weights: str


@dataclass(frozen=True)
class MetaKDPlan(JobPlan[MetaKDConfig]):
    """Students of a meta-teacher: for each domain intermediate-layer, then prediction-layer distillation."""

    base: MetaKDConfig
    teacher: str
    """Folder of the meta-teacher's task."""
    start: str
    """Initial model of all students; layers of a teacher are those of the job's own meta-teacher."""
    teacher_tables: TeacherTables
    tables: Mapping[str, StudentTables]
    """By domain."""

    @property
    def build_objective(self) -> BuildObjective:
        """Meta-KD's builder."""
        return build_meta_objective

    @property
    def chain_length(self) -> int:
        """One task for the single objective, else two."""
        return 1 if self.base.student.mode == "single" else 2

    def trial_teacher(self, config: MetaKDConfig) -> TrialTeacher | None:
        """The meta-teacher of students with this configuration; None for the job's own."""
        if config.teacher == self.base.teacher:
            return None
        tables = self.teacher_tables
        train = TokenisedSet.open(tables.train)
        rows = TaskInputs(train, TokenisedSet.open(tables.validation), None, (SideTable.open(tables.weights),))
        task = teacher_task(config, "meta", config.domains, rows, model_digest(config.teacher.model))
        student_rows = {domain: one.train for domain, one in self.tables.items()}
        return make_trial_teacher(task, folder=run_folder(self.base), rows=train.path, student_rows=student_rows)

    def chains(
        self, config: MetaKDConfig, *, variant: Variant, seed: int, folder: str, adapt: AdaptTask
    ) -> dict[str, TaskChain]:
        """A chain for each of the chosen domains."""
        if variant == "no_kd":
            return {
                domain: self._label_chain(config, Student("hard_labels", domain, seed), folder, adapt) for domain in self.tables
            }
        own = self.trial_teacher(config)
        return {
            domain: self._distilled_chain(config, Student("meta_kd", domain, seed), folder, adapt=adapt, own=own)
            for domain in self.tables
        }

    def _label_chain(self, config: MetaKDConfig, student: Student, folder: str, adapt: AdaptTask) -> TaskChain:
        domain = student.domain
        task = label_task(config, student, self._rows(domain, validated=True), model_folder(self.start))
        yield adapt(moved_task(task, storage.join(folder, domain)), domain=domain, last=True)

    def _distilled_chain(
        self, config: MetaKDConfig, student: Student, folder: str, *, adapt: AdaptTask, own: TrialTeacher | None
    ) -> TaskChain:
        single, domain = self.chain_length == 1, student.domain
        folder = storage.join(folder, domain)
        teacher = self.teacher if own is None else own.task.folder
        intermediate = intermediate_task(
            config,
            student,
            self._rows(domain, validated=single, weighted=True),
            model_folder(self.start),
            teacher=teacher,
            teacher_digest=model_digest(storage.join(teacher, "model")),
        )
        subfolder = folder if single else storage.join(folder, "intermediate")
        intermediate = adapt(moved_task(intermediate, subfolder), domain=domain, last=single)
        yield intermediate
        if not single:
            logits = self.tables[domain].logits if own is None else own.logits(domain)
            rows = self._rows(domain, validated=True, weighted=True, logits=logits)
            digest = model_digest(intermediate.model_folder)
            task = prediction_task(config, student, rows, after=intermediate, digest=digest)
            yield adapt(moved_task(task, folder), domain=domain, last=True)

    def _rows(self, domain: str, *, validated: bool, weighted: bool = False, logits: str | None = None) -> TaskInputs:
        tables = self.tables[domain]
        return TaskInputs(
            TokenisedSet.open(tables.train),
            TokenisedSet.open(tables.validation) if validated else None,
            SideTable.open(logits) if logits else None,
            (SideTable.open(tables.weights),) if weighted else (),
        )


class MetaKDWork:
    """The meta-teacher, its logits and the instance weights."""

    def __init__(self, base: MetaKDConfig, terminal: Terminal) -> None:
        self.base = base.model_copy(update={"baselines": (), "storage": storage.absolute(base.storage)})
        self.pipeline = MetaKDPipeline(self.base, terminal=terminal)

    def check(self) -> None:
        """Check models and files before anything starts, and split the rows. Raises RaykdError."""
        self.pipeline.check()
        self.pipeline.rows.split()

    def make_plan(self) -> MetaKDPlan:
        """Train the meta-teacher and export its logits; finished stages are skipped."""
        tables, rows, model = self.pipeline.tables, self.pipeline.rows, self.base.student.model
        logits = tables.logits(self.pipeline.teachers())
        every, teacher_model = self.base.domains, self.base.teacher.model
        return MetaKDPlan(
            base=self.base,
            teacher=teacher_folder(self.base, "meta", every),
            start=self.pipeline.start.path,
            teacher_tables=TeacherTables(
                train=rows.tokenised("train", every, teacher_model).path,
                validation=rows.tokenised("validation", every, teacher_model).path,
                weights=tables.weights(every).path,
            ),
            tables={
                domain: StudentTables(
                    train=tables.train_rows((domain,)).path,
                    validation=rows.tokenised("validation", (domain,), model).path,
                    weights=tables.weights((domain,)).path,
                    logits=logits["meta", domain].path,
                )
                for domain in self.base.chosen_domains
            },
        )

    def test_rows(self) -> dict[str, TokenisedSet]:
        """Rows that the search never sees, by domain, tokenised for the student."""
        return self._test_rows(self.base.student.model)

    def teacher(self) -> tuple[str, dict[str, TokenisedSet]] | None:
        """Folder of the trained meta-teacher, and the test rows tokenised for it."""
        folder = teacher_folder(self.base, "meta", self.base.domains)
        return storage.join(folder, "model"), self._test_rows(self.base.teacher.model)

    def _test_rows(self, model: str) -> dict[str, TokenisedSet]:
        return {domain: self.pipeline.rows.tokenised("test", (domain,), model) for domain in self.base.chosen_domains}

    def close(self) -> None:
        """Release the workers."""
        self.pipeline.runner.close()
