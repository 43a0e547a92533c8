"""From a task to its objective: class weights come from the training rows."""

from typing import Any

import pytest

from raykd.config import FineTuneConfig, ObjectiveConfig, VanillaKDConfig
from raykd.config.training import ComputeConfig, TrainingConfig
from raykd.data.prepare import prepare
from raykd.data.tokenised_set import TokenisedSet
from raykd.run.build_objective import ObjectiveContext, build_objective
from raykd.run.task import ModelFolder, TaskInputs, TaskLabels, make_task
from raykd.trainers.context import local_context
from tests.labelled_texts import labelled_texts
from tests.unit.data.conftest import write_tokenizer


@pytest.fixture
def rows(tmp_path: Any) -> TokenisedSet:
    """One row of the first class, three of the second."""
    (tmp_path / "rows.tsv").write_text("bad\tneg\ngood\tpos\nfilm\tpos\nbook\tpos\n")
    return prepare(labelled_texts(tmp_path / "rows.tsv", write_tokenizer(tmp_path / "tokenizer")), str(tmp_path / "cache"))


@pytest.mark.parametrize("objective", [FineTuneConfig(), VanillaKDConfig()])
@pytest.mark.parametrize(("given", "expected"), [("none", ()), ("balanced", (2.0, pytest.approx(2 / 3)))])
def test_balanced_weights_are_those_of_the_training_rows(
    objective: ObjectiveConfig, given: Any, expected: tuple[float, ...], rows: TokenisedSet
) -> None:
    task = make_task(
        name="t", folder="t", model=ModelFolder("t", "d"), labels=TaskLabels(rows.labels or ()), inputs=TaskInputs(rows, None),
        objective=objective, training=TrainingConfig(class_weights=given), seed=1, compute=ComputeConfig(),
    )  # fmt: skip
    with local_context() as worker:
        built = build_objective(task, ObjectiveContext(None, rows, worker, "fp32", lambda _: None))
    assert built.kind.class_weights == expected  # type: ignore[attr-defined]  # a kind of task with weights
