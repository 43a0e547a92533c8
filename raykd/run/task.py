"""A training task: everything a worker needs to train one model, as a value that travels as JSON."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

from pydantic import Field

from raykd import __version__
from raykd.config import ComputeConfig, EngineConfig, ObjectiveConfig, TrackingConfig, TrainingConfig
from raykd.config.section import Section
from raykd.config.task_objective import TaskObjective
from raykd.data import storage
from raykd.data.folds import Fold
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.models import absolute_model, model_digest

_LIBRARIES = ("torch", "transformers", "deepspeed", "tokenizers", "numpy")


def key_of(*parts: Any) -> str:
    """Hash of JSON values, raykd's version and those of the libraries that numbers depend on."""
    versions = {"raykd": __version__} | {name: version(name) for name in _LIBRARIES}
    text = json.dumps([parts, versions], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def side_digest(side: SideTable) -> str:
    """Hash of a side table's content."""
    return key_of([part.digest for part in side.parts])


class StoredJob(Protocol):
    """The part of a job's configuration that its folders follow from."""

    @property
    def name(self) -> str:
        """Name of the run."""

    @property
    def storage(self) -> str:
        """Folder of all runs."""


def run_folder(job: StoredJob) -> str:
    """The folder of everything a job makes; absolute, since workers may run elsewhere."""
    return storage.join(storage.absolute(job.storage), job.name)


def cache_folder(job: StoredJob) -> str:
    """The folder of prepared data, shared by all jobs of one storage."""
    return storage.join(storage.absolute(job.storage), "cache")


class Phase(Section):
    """Settings that replace earlier ones while a model trains."""

    start: float = Field(gt=0, lt=1)
    """Fraction of the steps from which they hold."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate; the schedule's shape continues."""
    objective: ObjectiveConfig


class TrainTask(Section):
    """One model to train; its folder holds the model, checkpoints and history, and ``task.json`` once it is done.

    Built by :func:`make_task`.
    """

    name: str
    """Display name: `teacher`, `student kd seed 1`."""
    folder: str
    """Folder of its results."""
    model: str
    """Initial weights: a model folder or hub name."""
    labels: tuple[str, ...]
    """Label names in the order of their ids."""
    task_kind: str = "single_label"
    """Name of a kind in `raykd.task_kinds`."""
    positive_label: str | None = None
    """Label whose F1 is evaluated, for two classes; `null` is the second."""
    train: str
    """Tokenised set of the training rows."""
    validation: str | None
    """Tokenised validation set, which selects the best weights; `null` keeps the last."""
    logits: str | None = None
    """Side table of teacher logits for objectives that distil."""
    without: Fold | None = None
    """Fold of the training rows to leave out; `null` trains on all."""
    unlabelled_fraction: float | None = None
    """Share of unlabelled rows in every global batch; `null` takes rows with and without a label as they come."""
    side_tables: tuple[str, ...] = ()
    """Other side tables of the training rows that the objective reads."""
    objective: TaskObjective
    training: TrainingConfig
    phases: tuple[Phase, ...] = ()
    """Changes of objective and learning rate during training, by ascending start."""
    seed: int
    engine: EngineConfig
    precision: str
    tf32: bool = True
    """Allow TF32 in fp32 matrix products on a GPU."""
    compile: bool = False
    """Compile forward and backward passes."""
    threads: int | None = None
    """PyTorch threads of a step on a CPU; `null` is as many as its size is worth."""
    unpadded: bool = False
    """Run the models without padding."""
    tracking: TrackingConfig = TrackingConfig()
    group: str = ""
    """Group of the experiment's runs in the tracker."""
    key: str
    """Hash of all that the result depends on: settings, seed, content of the inputs, versions. Identifies finished folders."""

    @property
    def model_folder(self) -> str:
        """Folder of the trained model."""
        return storage.join(self.folder, "model")

    @property
    def checkpoints(self) -> str:
        """Folder of its checkpoints."""
        return storage.join(self.folder, "checkpoints")

    @property
    def history(self) -> str:
        """File of its events."""
        return storage.join(self.folder, "history.jsonl")

    def is_done(self) -> bool:
        """True when the folder holds the finished result of this very task."""
        return storage.exists(self._manifest) and bool(storage.read_json(self._manifest)["key"] == self.key)

    def begin(self) -> None:
        """Remove the manifest of an older task: from now on the folder's model may be replaced at any time."""
        storage.remove(self._manifest)

    def mark_done(self) -> None:
        """Write the manifest, last of all."""
        storage.write_json(self._manifest, self.model_dump(mode="json"))

    @property
    def _manifest(self) -> str:
        return storage.join(self.folder, "task.json")


@dataclass(frozen=True)
class ModelFolder:
    """A model and the hash of its weights."""

    path: str
    """Folder, or name on the hub."""
    digest: str


def model_folder(path: str) -> ModelFolder:
    """A model with the hash of its weights as they are now."""
    return ModelFolder(path, model_digest(path))


@dataclass(frozen=True)
class TaskLabels:
    """The meaning of a model's outputs."""

    names: Sequence[str]
    """Label names in the order of their ids."""
    kind: str = "single_label"
    """Name of a kind in `raykd.task_kinds`."""
    positive: str | None = None
    """Label whose F1 is evaluated, for two classes; None is the second."""


@dataclass(frozen=True)
class TaskInputs:
    """Tokenised sets and side tables of a task."""

    train: TokenisedSet
    validation: TokenisedSet | None
    """Selects the best weights; None, or rows without labels, keeps the last."""
    logits: SideTable | None = None
    """Teacher logits of the training rows."""
    side_tables: tuple[SideTable, ...] = ()
    """Other side tables of the training rows."""
    without: Fold | None = None
    """Fold of the training rows to leave out."""
    unlabelled_fraction: float | None = None
    """Share of unlabelled rows in every global batch; None takes rows with and without a label as they come."""

    @property
    def selecting(self) -> TokenisedSet | None:
        """The validation set, if its rows have labels."""
        return self.validation if self.validation is not None and self.validation.labels is not None else None

    @property
    def digests(self) -> list[Any]:
        """Hashes of the content of rows and side tables."""
        return [
            self.train.fingerprint,
            [self.without.number, side_digest(SideTable.open(self.without.table))] if self.without else None,
            self.selecting.fingerprint if self.selecting else None,
            side_digest(self.logits) if self.logits else None,
            [side_digest(table) for table in self.side_tables],
            *([] if self.unlabelled_fraction is None else [self.unlabelled_fraction]),
        ]


@dataclass(frozen=True)
class TrackedAs:
    """The place of a task in the experiment tracker."""

    tracking: TrackingConfig
    group: str = ""
    """Group of the experiment's runs."""


_UNTRACKED = TrackedAs(TrackingConfig())


def make_task(
    *,
    name: str,
    folder: str,
    model: ModelFolder,
    labels: TaskLabels,
    inputs: TaskInputs,
    objective: TaskObjective,
    training: TrainingConfig,
    seed: int,
    compute: ComputeConfig,
    teacher_digest: str | None = None,
    phases: Sequence[Phase] = (),
    tracked: TrackedAs = _UNTRACKED,
) -> TrainTask:
    """Build a training task. Paths become absolute, since workers may run elsewhere.

    ``teacher_digest`` is the hash of a teacher that the objective runs. The key hashes content, never paths: a storage that is
    moved keeps its finished tasks.
    """
    settings = [
        *_training_settings(objective, training, phases, compute),
        seed,
        list(labels.names),
        labels.kind,
        labels.positive,
    ]
    return TrainTask(
        name=name,
        folder=storage.absolute(folder),
        model=absolute_model(model.path),
        labels=tuple(labels.names),
        task_kind=labels.kind,
        positive_label=labels.positive,
        train=storage.absolute(inputs.train.path),
        validation=storage.absolute(inputs.selecting.path) if inputs.selecting else None,
        logits=storage.absolute(inputs.logits.path) if inputs.logits else None,
        without=inputs.without,
        unlabelled_fraction=inputs.unlabelled_fraction,
        side_tables=tuple(storage.absolute(table.path) for table in inputs.side_tables),
        objective=objective,
        training=training,
        phases=tuple(phases),
        seed=seed,
        engine=compute.engine,
        precision=compute.precision,
        tf32=compute.tf32,
        compile=compute.compile,
        threads=None if compute.threads == "auto" else compute.threads,
        unpadded=compute.unpadded,
        tracking=tracked.tracking,
        group=tracked.group,
        key=key_of(settings, [model.digest, teacher_digest, *inputs.digests]),
    )


def _training_settings(
    objective: TaskObjective, training: TrainingConfig, phases: Sequence[Phase], compute: ComputeConfig
) -> list[Any]:
    """Settings of a training that its result depends on."""
    return [
        objective.key_fields(),
        _source_digest(objective.custom_class),
        training.model_dump(exclude={"log_every"}),
        [phase.model_dump() for phase in phases],
        compute.precision,
        compute.tf32,
        *(["compile"] if compute.compile else []),
        *(["unpadded"] if compute.unpadded else []),
    ]


def _source_digest(custom_class: str | None) -> str | None:
    """Hash of the source of a user's class."""
    if custom_class is None:
        return None
    from raykd.trainers.custom_objective import source_digest  # imports torch, which --dry-run does without

    return source_digest(custom_class)
