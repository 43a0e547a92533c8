"""Rows of a training: the columns of the objective, labels where they are needed, the teacher's logits."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from raykd.config import FineTuneConfig
from raykd.data.parquet_files import write_part
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import spec_from_config
from raykd.data.side_tables import commit
from raykd.data.step_stream import local_feed
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.tasks import StudentInputs, student_task
from raykd.distill.training_length import match_lengths
from raykd.errors import ConfigError, DataError
from raykd.models import load_classifier
from raykd.run.task import TrainTask, cache_folder, model_folder
from raykd.run.train_task import run_task
from raykd.task_kinds import label_codec
from raykd.trainers.context import local_context
from raykd.trainers.fine_tune import FineTune
from tests.unit.run.tasks import TORCH, Make, task_of, train, with_logits_of


class Reading(FineTune):
    """Reads a column that it names, or one that it does not."""

    def __init__(self, named: tuple[str, ...], read: str) -> None:
        self.named, self.read = named, read

    @property
    def side_columns(self) -> tuple[str, ...]:
        return self.named

    def __call__(self, model: Any, batch: Any) -> Any:
        assert self.read in batch.extras, f"no column {self.read}"
        return super().__call__(model, batch)


def build_reading(named: tuple[str, ...], read: str) -> Callable[..., Reading]:
    return lambda task, context: Reading(named, read)


def test_a_batch_has_the_columns_that_the_objective_names_and_no_others(experiment: Make) -> None:
    config = experiment(**TORCH, teacher__training__max_steps=1)
    plain = task_of(config)
    rows = TokenisedSet.open(plain.train)
    folder = f"{cache_folder(config)}/scores"
    tables = [
        rows.read_group(group, ["shard", "row"]).append_column("score", pa.array(np.ones(size, np.float32)))
        for group, size in enumerate(rows.group_rows)
    ]
    commit(folder, rows, [write_part(folder, 0, tables)], ("score",), {})
    for number, (named, read) in enumerate(((("score",), "score"), ((), "score"))):
        task = plain.model_copy(update={"side_tables": (folder,), "folder": f"{plain.folder}-{number}"})
        with local_context() as context:
            run = functools.partial(run_task, task, context, build_feed=local_feed, build_objective=build_reading(named, read))
            if named:
                run()
            else:
                with pytest.raises(AssertionError, match="no column score"):
                    run()


def test_a_column_that_no_table_has_is_refused_before_the_first_step(experiment: Make) -> None:
    task = task_of(experiment(**TORCH, teacher__training__max_steps=1))
    builder = build_reading(("score",), "score")
    with local_context() as context, pytest.raises(DataError, match="reads score, but no side table"):
        run_task(task, context, build_feed=local_feed, build_objective=builder)
    assert not Path(task.history).exists()


def test_labels_that_are_not_there_are_missed_before_the_first_step(experiment: Make, small_world: dict[str, str]) -> None:
    task = unlabelled(experiment, small_world).model_copy(update={"objective": FineTuneConfig()})
    with pytest.raises(DataError, match="the objective needs labels, but the rows have none"):
        train(task)
    assert not Path(task.history).exists()


def unlabelled(experiment: Make, world: dict[str, str], **changes: Any) -> TrainTask:
    """The student's task where no row has a label and the teacher comes as it is."""
    config = experiment(
        data__label=None,
        teacher={"model": world["teacher"], "fine_tune": False},
        student__variants={"kd": {}},
        student__objective={"kind": "vanilla_kd", "alpha": 1.0},
        student__seeds=[1],
        **TORCH,
        **changes,
    )
    sets = {
        part: prepare(spec_from_config(config.data, part, config.student.model, label_codec(config.data)), cache_folder(config))
        for part in ("train", "validation")
    }
    (variant,) = config.student_variants
    length = match_lengths([variant], {variant.name: sets["train"].num_rows}, unit="steps")[variant.name]
    logits = with_logits_of(sets["train"], config)
    start, tokenizer = model_folder(config.student.model), config.student.model
    inputs = StudentInputs(variant=variant, start=start, tokenizer=tokenizer, **sets, logits=logits, length=length)
    return student_task(config, inputs, seed=1)


def test_alpha_one_trains_on_rows_without_labels(experiment: Make, small_world: dict[str, str]) -> None:
    task = unlabelled(experiment, small_world)
    history = train(task)
    assert not [record for record in history if record["event"] == "eval"], "nothing can be measured without labels"
    model = load_classifier(task.model_folder, labels=("0", "1"), new_head=False)
    assert model.config.id2label == {0: "0", 1: "1"}


def test_without_labels_the_names_must_be_the_teachers(experiment: Make, small_world: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"set data\.labels to the teacher's names"):
        unlabelled(experiment, small_world, data__labels=["negative", "positive"])
