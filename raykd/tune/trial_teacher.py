"""A teacher with a trial's own values: trained once for them, and its logits exported once, by the trial that needs it first.

Its folder is named by what its weights depend on: trials with the same values, a resumed search and the final trainings
all find it.
"""

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raykd.data import storage
from raykd.data.side_tables import SideTable, restrict
from raykd.data.tokenised_set import TokenisedSet
from raykd.models import model_digest
from raykd.predict import ScoreJob
from raykd.run.stages import Stage
from raykd.run.task import TrainTask, key_of
from raykd.tune.trial_record import SharedWorkCount

TrainTeacher = Callable[[TrainTask], None]
ScoreRows = Callable[[Sequence[ScoreJob]], object]


@dataclass(frozen=True)
class TrialTeacher:
    """The training of a teacher and the export of its logits."""

    task: TrainTask
    rows: str
    """Training rows, tokenised for the teacher."""
    student_rows: Mapping[str, str]
    """By domain, training rows tokenised for the student; empty when one table of logits serves all."""

    @property
    def model(self) -> str:
        """Folder of the trained teacher."""
        return self.task.model_folder

    def logits(self, domain: str = "") -> str:
        """Side table of its logits on all rows, or on those of a domain."""
        return storage.join(self._stage.folder, domain or "all")

    def is_done(self) -> bool:
        """Return True when it is trained and its logits are exported."""
        return self.task.is_done() and self._stage.is_done()

    def make(self, train: TrainTeacher, score: ScoreRows) -> Iterator[SharedWorkCount]:
        """Make what is missing; yield what was done after each part."""
        if not self.task.is_done():
            train(self.task)
            yield SharedWorkCount(teacher_trainings=1)
        if not self._stage.is_done():
            self._stage.begin()
            score([ScoreJob(self.model, self.rows, self.logits())])
            self._split_by_domain()
            self._stage.finish(model=model_digest(self.model))
            yield SharedWorkCount(logit_exports=1)

    def with_task(self, **changes: Any) -> "TrialTeacher":
        """Return the same teacher with changes to its task that no weight depends on: engine, tracker."""
        return replace(self, task=self.task.model_copy(update=changes))

    def _split_by_domain(self) -> None:
        whole, rows = SideTable.open(self.logits()), TokenisedSet.open(self.rows)
        for domain, path in self.student_rows.items():
            restrict(whole, rows, TokenisedSet.open(path), out=self.logits(domain))

    @property
    def _stage(self) -> Stage:
        folder = storage.join(posixpath.dirname(self.task.folder), "logits")
        return Stage("logits", folder, key_of("logits", self.task.key, self.rows, sorted(self.student_rows.items())))


def make_trial_teacher(
    task: TrainTask, *, folder: str, rows: str, student_rows: Mapping[str, str] | None = None
) -> TrialTeacher:
    """The teacher that ``task`` trains, in a folder of its own within the searched job's ``folder``."""
    own = storage.join(folder, "trial-teachers", task.key[:16], "teacher")
    return TrialTeacher(task.model_copy(update={"folder": own}), rows, dict(student_rows or {}))
