"""``--mode=train``: one training task under ``checkpoint_dir``, which becomes the folder of the trained model."""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from raykd.config import ComputeConfig
from raykd.config.task_objective import TaskObjective
from raykd.data import storage
from raykd.data.first_rows import first_texts
from raykd.data.folder_lock import LOCK, folder_lock
from raykd.data.logits_tsv import import_tsv
from raykd.data.prepare import prepare
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.easynlp.columns import check_file
from raykd.easynlp.console import TrainingLines
from raykd.easynlp.flags import FlagValues
from raykd.easynlp.folder import PUBLISHED, VALUES, WORK, publish, read_published, visible_flags
from raykd.easynlp.ray_workers import connected
from raykd.easynlp.settings import ScoreSettings, TrainSettings
from raykd.errors import CheckpointError
from raykd.models import PROBE_ROWS, check_sequence_length, load_config, model_digest, probe_classifier
from raykd.run.build_objective import BuildObjective, build_objective
from raykd.run.task import ModelFolder, TaskInputs, TaskLabels, TrainTask, make_task
from raykd.run.worker_group import WorkerGroup

log = logging.getLogger(__name__)

HISTORY = "history.jsonl"


def train(settings: TrainSettings, flags: FlagValues) -> None:
    """Train and publish, or resume an interrupted training; do nothing when the folder holds the result of this training.

    Raises RaykdError for anything a user can cause, before Ray starts where it can be seen then.
    """
    run_training(Training(settings), flags)


def run_training(training: "Training", flags: FlagValues) -> None:
    """Run a training that has been checked."""
    with folder_lock(training.work):
        _run_training(training, flags)


def _run_training(training: "Training", flags: FlagValues) -> None:
    settings = training.settings
    storage.write_json(storage.join(training.work, VALUES), visible_flags(flags))
    with connected(settings.workers, settings.precision) as compute:
        group = WorkerGroup(
            compute, storage=storage.join(training.work, "ray"), name="easynlp", build_objective=training.build_objective
        )
        try:
            training.prepare_teacher(compute)
            if training.published() is None:
                group.start()  # workers import while rows are prepared
            task = training.task(compute)
            if training.published() == task.key:
                log.info("%s holds the result of this very training: nothing to do", settings.checkpoint_dir)
                return
            training.run(task, group)
        finally:
            group.close()
    training.publish(task, flags)


class Training:
    """A training of one command, from its files to its task to the model folder."""

    def __init__(self, settings: TrainSettings) -> None:
        """Check all inputs before Ray starts. Raises RaykdError."""
        self.settings = settings
        self.checkpoint_dir = storage.absolute(settings.checkpoint_dir)
        self.work = storage.join(self.checkpoint_dir, WORK)
        self.cache = storage.join(self.work, "cache")
        self.logits_column = 0
        for table in filter(None, (settings.train_file, settings.dev_file)):
            check_file(table, "--tables")
        if settings.logits is None:
            self.columns = settings.columns.fitted(settings.train_file)
        else:
            check_file(settings.logits.path, "--user_defined_parameters: logits_saved_path")
            self.columns, self.logits_column = settings.logits.split(settings.columns, settings.train_file)
        check_sequence_length(load_config(settings.model), settings.columns.sequence_length, model=settings.model)
        if self.columns.labels is not None:
            texts = first_texts(self.columns.spec(settings.train_file, settings.model), PROBE_ROWS)
            sequence_length = settings.columns.sequence_length
            probe_classifier(settings.model, texts, labels=self.columns.labels, sequence_length=sequence_length)
        self.model_digest = model_digest(settings.model)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Additional metadata of the published model; here none."""
        return {}

    @property
    def objective(self) -> TaskObjective:
        """Training objective."""
        return self.settings.objective

    @property
    def build_objective(self) -> BuildObjective:
        """The builder of the objective; here that for every kind of job."""
        return build_objective

    @property
    def teacher_digest(self) -> str | None:
        """Hash of a teacher that the objective runs; here none."""
        return None

    def prepare_teacher(self, compute: ComputeConfig) -> None:
        """Teacher logits to compute before the workers start; here none."""

    def published(self) -> str | None:
        """Key of the training whose model the folder holds; None for any other folder."""
        return read_published(self.checkpoint_dir).get("key")

    def task(self, compute: ComputeConfig) -> TrainTask:
        """Prepare rows and logits, and build the training task."""
        settings = self.settings
        rows = prepare(self.columns.spec(settings.train_file, settings.model), self.cache)
        log.info("Num training examples = %d", rows.num_rows)
        task = make_task(
            name="easynlp",
            folder=self.work,
            model=ModelFolder(settings.model, self.model_digest),
            teacher_digest=self.teacher_digest,
            labels=TaskLabels(self.columns.labels or (), self.columns.kind.name),
            inputs=TaskInputs(rows, self._dev_rows(), self._logits(rows), self._side_tables(rows)),
            objective=self.objective,
            training=settings.training,
            seed=settings.seed,
            compute=compute,
        )
        return task.model_copy(update={"folder": storage.join(task.folder, task.key)})

    def _dev_rows(self) -> TokenisedSet | None:
        """The validation set; logits belong to the training rows only."""
        file = self.settings.dev_file
        if file is None:
            return None
        rows = prepare(self.columns.fitted(file).spec(file, self.settings.model), self.cache)
        log.info("Num validation examples = %d", rows.num_rows)
        return rows

    def _logits(self, rows: TokenisedSet) -> SideTable | None:
        if self.settings.logits is None:
            return None
        out = storage.join(self.cache, "logits")
        storage.remove(out)
        return import_tsv(self.settings.logits.path, rows, out=out, column=self.logits_column)

    def _side_tables(self, rows: TokenisedSet) -> tuple[SideTable, ...]:  # noqa: ARG002 (Meta-KD's need the rows)
        """Other tables of the training rows; here none."""
        return ()

    def run(self, task: TrainTask, group: WorkerGroup) -> None:
        """Train, from the last checkpoint if there is one."""
        if self.settings.resume_from is not None:
            continue_from(self.settings.resume_from, task)
        if task.is_done():
            return
        weights_file = storage.join(self.settings.checkpoint_dir, "model.safetensors")
        lines = TrainingLines(self.settings.training, weights_file=weights_file)
        group.run([task], lines.record)

    def publish(self, task: TrainTask, flags: FlagValues) -> None:
        """Make ``checkpoint_dir`` the model's folder; keep the history and the key, delete what only resuming needs."""
        storage.remove(storage.join(self.work, PUBLISHED))
        for path in storage.list_dir(task.folder):
            if path.endswith(".safetensors"):  # what was trained beside the model travels with it
                storage.write_bytes(storage.join(task.model_folder, os.path.basename(path)), storage.read_bytes(path))
        publish(task.model_folder, self.checkpoint_dir, source_model=task.model, labels=task.labels, flags=flags)
        for folder in storage.list_dir(storage.join(task.folder, "evaluated")):
            storage.upload_dir(folder, storage.join(self.checkpoint_dir, os.path.basename(folder)))
        storage.write_bytes(storage.join(self.work, HISTORY), storage.read_bytes(task.history))
        for path in storage.list_dir(self.work):
            if path not in {storage.join(self.work, name) for name in (VALUES, HISTORY, LOCK)}:
                storage.remove(path)
        storage.write_json(storage.join(self.work, PUBLISHED), {"key": task.key, **self.provenance})


Scoring = TypeVar("Scoring", bound=ScoreSettings)


def as_trained(settings: Scoring) -> Scoring:
    """Drop second texts for a Meta-KD model that was trained without any: those columns are empty."""
    if read_published(settings.checkpoint_dir).get("paired", True):
        return settings
    return replace(settings, columns=replace(settings.columns, second_sequence=None))


def continue_from(source: str, task: TrainTask) -> None:
    """Take over the checkpoints of the same training in another folder. Raises CheckpointError without any."""
    if storage.exists(f"{source}.bin"):
        raise CheckpointError(
            f"--resume_from_checkpoint={source}: optimiser state of EasyNLP is not read; import its weights with raykd easynlp "
            f"import {source}.bin OUT and start from pretrain_model_name_or_path=OUT"
        )
    theirs = storage.join(storage.absolute(source), WORK, task.key)
    if theirs == task.folder or storage.exists(task.folder):
        return
    if not storage.list_dir(storage.join(theirs, "checkpoints")):
        raise CheckpointError(
            f"--resume_from_checkpoint={source} holds no checkpoint of this training: it is another folder, nothing was saved "
            "before it ended, or data, model, flags or versions have changed; give its checkpoint_dir, or leave the flag out"
        )
    storage.upload_dir(theirs, task.folder)  # with the best model so far, of which the checkpoint has the score only
