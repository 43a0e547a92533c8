"""A teacher that a trial asks for with values of its own: trained once for them, its logits exported once, whoever comes first.

Its folder is named by what its weights depend on: trials with the same values, a search that continues and the trainings at the
end all find it.
"""

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raykd.data import storage
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.metakd.domain_files import restrict
from raykd.models import model_digest
from raykd.predict import ScoreJob
from raykd.run.stage import Stage
from raykd.run.task import TrainTask, key_of
from raykd.tune.trial_record import Work

Train = Callable[[TrainTask], None]
Score = Callable[[Sequence[ScoreJob]], object]


@dataclass(frozen=True)
class TrialTeacher:
    """A teacher to be trained, and what its logits are wanted on."""

    task: TrainTask
    rows: str
    """Prepared set of the training rows, as the teacher reads them."""
    parts: Mapping[str, str]
    """By domain its training rows as the student reads them, a prepared set; empty where one table serves."""

    @property
    def model(self) -> str:
        """Folder of the trained teacher."""
        return self.task.model_folder

    def logits(self, domain: str = "") -> str:
        """Side table of its logits, on all rows or a domain's."""
        return storage.join(self._stage.folder, domain or "all")

    def is_done(self) -> bool:
        """Whether it is trained and has scored its rows."""
        return self.task.is_done() and self._stage.is_done()

    def teach(self, train: Train, score: Score) -> Iterator[Work]:
        """Make what is not there; what was done, after each part of it."""
        if not self.task.is_done():
            train(self.task)
            yield Work(teacher_trainings=1)
        if not self._stage.is_done():
            self._stage.begin()
            score([ScoreJob(self.model, self.rows, self.logits())])
            self._cut()
            self._stage.finish(model=model_digest(self.model))
            yield Work(logit_exports=1)

    def on(self, **changes: Any) -> "TrialTeacher":
        """The same with its training changed in what no weight depends on: engine, tracker."""
        return replace(self, task=self.task.model_copy(update=changes))

    def _cut(self) -> None:
        whole, rows = SideTable.open(self.logits()), TokenisedSet.open(self.rows)
        for domain, part in self.parts.items():
            restrict(whole, rows, TokenisedSet.open(part), out=self.logits(domain))

    @property
    def _stage(self) -> Stage:
        folder = storage.join(posixpath.dirname(self.task.folder), "logits")
        return Stage("logits", folder, key_of("logits", self.task.key, self.rows, sorted(self.parts.items())))


def lesson(task: TrainTask, *, folder: str, rows: str, parts: Mapping[str, str] | None = None) -> TrialTeacher:
    """The lesson of a teacher's training, in a folder of its own among those of the searched job."""
    own = storage.join(folder, "teachers-of-trials", task.key[:16], "teacher")
    return TrialTeacher(task.model_copy(update={"folder": own}), rows, dict(parts or {}))
