"""Unlabelled rows and a label budget, from files to trained students, without Ray."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from raykd.config import ExperimentConfig
from raykd.data.side_tables import SideTable
from raykd.data.step_stream import local_feed
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ConfigError, DataError, ModelError
from raykd.report.load_tables import load_logits
from raykd.run.train_task import run_task
from raykd.trainers.context import local_context
from raykd.trainers.events import CheckpointSaved, TrainingEvent
from tests.local_pipeline import LocalPipeline

SHORT = {"epochs": 1, "batch_size": 16, "learning_rate": 5e-3}
BUDGET = {
    "compute__engine": {"kind": "torch"},
    "teacher__training": SHORT,
    "student__training": SHORT,
    "student__seeds": [1],
    "data__label_budget": 60,
}


@pytest.fixture
def more_texts(small_world: dict[str, str], tmp_path: Path) -> str:
    """Texts of test rows, which may not be trained on, and three others."""
    test = [line.split("\t")[0] for line in Path(small_world["test"]).read_text().splitlines()[:7]]
    (tmp_path / "more.tsv").write_text("\n".join([*test, "good plot", "awful end", "it is one film"]) + "\n")
    return str(tmp_path / "more.tsv")


def trained_on(pipeline: LocalPipeline, folder: str) -> TokenisedSet:
    from raykd.data.storage import read_json

    return TokenisedSet.open(read_json(f"{pipeline.runner.folder}/{folder}/task.json")["train"])


def test_the_teacher_sees_the_budget_and_the_student_all_rows(
    experiment: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline], more_texts: str
) -> None:
    pipeline = local(experiment(**BUDGET, data__unlabelled=[more_texts]))
    comparison = pipeline.run()
    assert comparison is not None
    whole = pipeline.tokenised("train", pipeline.config.student.model)
    for folder in ("teacher", "students/no_kd-seed1"):
        assert trained_on(pipeline, folder).num_rows == 60
    student = trained_on(pipeline, "students/kd-seed1")
    assert student.num_rows == whole.num_rows + 3
    assert student.labelled_groups == 1
    assert any("7 left out with a text of another split" in line for line in pipeline.runner.said)
    assert comparison.left_out == ("7 of 10 texts left out of the unlabelled rows: the validation or test set has them",)
    assert f"{comparison.left_out[0]}." in Path(pipeline.runner.folder, "report/report.md").read_text()
    assert comparison.left_out[0] in Path(pipeline.runner.folder, "report/report.html").read_text()
    scored = [job.output.rpartition("/logits/")[2] for job in pipeline.runner.jobs if "/logits/" in job.output]
    assert sorted(scored) == ["train", "unlabelled", "unlabelled-train", "validation"], "each row once"
    logits = load_logits(f"{pipeline.runner.folder}/logits/all")
    parts = [load_logits(f"{pipeline.runner.folder}/logits/{kind}") for kind in ("train", "unlabelled-train", "unlabelled")]
    np.testing.assert_array_equal(logits, np.concatenate(parts))

    again = local(experiment(**BUDGET, data__unlabelled=[more_texts]))
    again.run()
    assert (again.trained, again.runner.jobs) == ([], []), "everything is there"


def test_rows_of_test_and_validation_stay_as_they_are(
    experiment: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline], more_texts: str
) -> None:
    budget, plain = local(experiment(**BUDGET, data__unlabelled=[more_texts])), local(experiment())
    for split in ("train", "validation", "test"):
        model = plain.config.student.model
        assert budget.tokenised(split, model).fingerprint == plain.tokenised(split, model).fingerprint  # type: ignore[arg-type]  # the name of a split


def test_without_unlabelled_rows_the_set_is_the_training_set(
    experiment: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline]
) -> None:
    pipeline = local(experiment())
    model = pipeline.config.student.model
    assert pipeline.training_rows.of(model, rows="all", augment=False) == pipeline.tokenised("train", model)


def test_a_budget_of_all_rows_leaves_none_unlabelled(
    experiment: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline]
) -> None:
    model = experiment().student.model
    rows = local(experiment()).tokenised("train", model).num_rows
    pipeline = local(experiment(data__label_budget=rows))
    assert pipeline.training_rows.kinds(rows="all", augment=False) == ("train",)
    assert pipeline.training_rows.of(model, rows="all", augment=False).num_rows == rows
    with pytest.raises(DataError, match=f"label_budget = {rows + 1}, but data.train has {rows} rows"):
        local(experiment(data__label_budget=rows + 1)).tokenise_all()


def test_given_logits_cover_rows_beyond_the_budget(
    experiment: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline], tmp_path: Path
) -> None:
    (tmp_path / "logits.tsv").write_text("".join(f"{row},{-row}\n" for row in range(400)))
    given: dict[str, Any] = {**BUDGET, "teacher": None, "logits__file": str(tmp_path / "logits.tsv")}
    del given["teacher__training"]
    pipeline = local(experiment(**given))
    side = pipeline.logits()
    assert isinstance(side, SideTable)
    rows = pipeline.training_rows.of(pipeline.config.student.model, rows="all", augment=False)
    side.check_fits(rows)
    for group in range(len(rows.group_rows)):
        table = side.read_group(group)
        assert [value[0] for value in table["logits"].to_pylist()] == table["row"].to_pylist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__label_budget": 1}, "label_budget = 1 is smaller than the 2 labels of data.labels"),
        ({"data__label_budget": 9, "data__label": None}, "data.label_budget is given, but data.label is not set"),
        ({"data__unlabelled": ["more.tsv"], "teacher": None, "logits__file": "x.tsv"}, "logits.file = x.tsv has logits of"),
        ({"data__unlabelled": ["more.tsv"], "student__objective": {"kind": "fine_tune"}}, "no student distils"),
    ],
)
def test_settings_that_contradict_each_other(
    changes: dict[str, Any], message: str, experiment: Callable[..., ExperimentConfig]
) -> None:
    with pytest.raises(ConfigError, match=message):
        experiment(**changes)


def test_checks_before_ray(
    experiment: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline], more_texts: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"student\.objective \(variant kd\) needs the label of every row"):
        local(experiment(student__objective={"kind": "decoupled_kd"}, data__unlabelled=[more_texts]))
    variants = {"no_kd": {"objective": {"kind": "fine_tune"}, "rows": "all"}}
    with pytest.raises(ConfigError, match=r"variants\.no_kd\.objective \(variant no_kd\) needs the label of every row"):
        local(experiment(student__variants=variants, data__label_budget=60))
    (tmp_path / "wide.tsv").write_text("a\tb\tc\n")
    with pytest.raises(DataError, match=r"3 columns, but data\.unlabelled needs 1"):
        local(experiment(data__unlabelled=[str(tmp_path / "wide.tsv")]))
    with pytest.raises(DataError, match=r"absent\.tsv"):
        local(experiment(data__unlabelled=["absent.tsv"]))
    (tmp_path / "labels.txt").write_text("0\n1\n")
    with pytest.raises(ConfigError, match="label_budget = 1 is smaller than the 2 labels"):
        local(experiment(data__label_budget=1, data__labels=str(tmp_path / "labels.txt")))


VARIANTS: dict[str, Any] = {
    "no_kd": {"objective": {"kind": "fine_tune"}, "rows": "labelled"},
    "labelled": {"rows": "labelled"},
    "kd": {"augment": True},
}
AUGMENT = {"views": 2, "mask": 0.2, "drop": 0.2, "ngram": 0.2}


def test_variants_share_rows_and_logits_of_each_kind(
    experiment: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline], more_texts: str
) -> None:
    changes: dict[str, Any] = {**BUDGET, "data__unlabelled": [more_texts], "augment": AUGMENT}
    pipeline = local(experiment(**changes, student__variants=VARIANTS))
    students = {one.inputs.variant.name: one.inputs for one in pipeline.students()}
    rows = pipeline.training_rows
    kinds = ("train", "unlabelled-train", "unlabelled", "views-train", "views-unlabelled-train", "views-unlabelled")
    assert rows.kinds(rows="all", augment=True) == kinds
    sizes = [rows.of_kind(kind, pipeline.config.student.model).num_rows for kind in kinds]
    assert students["no_kd"].train.num_rows == students["labelled"].train.num_rows == sizes[0] == 60
    assert students["kd"].train.num_rows == sum(sizes)
    assert sum(sizes[3:]) > sum(sizes[:3])
    for name in ("labelled", "kd"):
        logits = students[name].logits
        assert logits is not None
        logits.check_fits(students[name].train)
    scored = [job.output.rpartition("/logits/")[2] for job in pipeline.runner.jobs]
    assert sorted(scored) == sorted([*kinds, "validation"]), "each row once"

    again = local(experiment(**changes, student__variants=VARIANTS))
    again.students()
    assert (again.trained, again.runner.jobs) == ([], []), "everything is there"


@pytest.mark.parametrize("fraction", [None, 0.7])
def test_a_training_on_labelled_rows_unlabelled_rows_and_views_resumes_bit_for_bit(
    fraction: float | None,
    experiment: Callable[..., ExperimentConfig],
    local: Callable[..., LocalPipeline],
    more_texts: str,
    tmp_path: Path,
) -> None:
    training = {**SHORT, "checkpoint_steps": 4, "evaluate_every": 8}
    changes: dict[str, Any] = {**BUDGET, "student__training": training, "data__unlabelled": [more_texts], "augment": AUGMENT}
    pipeline = local(experiment(**changes, data__unlabelled_fraction=fraction, student__variants=VARIANTS))
    whole = next(one.task for one in pipeline.students() if one.inputs.variant.name == "kd")
    assert whole.unlabelled_fraction == fraction
    halves = whole.model_copy(update={"folder": str(tmp_path / "halves")})

    def stop(event: TrainingEvent) -> None:
        if isinstance(event, CheckpointSaved) and event.step == 20:
            raise KeyboardInterrupt

    with local_context() as context:
        with pytest.raises(KeyboardInterrupt):
            run_task(halves, context, build_feed=local_feed, listeners=[stop])
        run_task(halves, context, build_feed=local_feed)
    history = [json.loads(line) for line in Path(halves.history).read_text().splitlines()]
    assert [one["step"] for one in history if one["event"] == "resumed"] == [20]
    assert next(one["step"] for one in history if one["event"] == "end") > 40
    expected, resumed = (load_file(Path(one.model_folder, "model.safetensors")) for one in (whole, halves))
    assert all(torch.equal(value, resumed[name]) for name, value in expected.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__unlabelled_fraction": 0.5}, "there are no unlabelled rows: give data.unlabelled or data.label_budget"),
        ({"data__unlabelled_fraction": 1.0, "data__label_budget": 60}, "less than 1"),
        ({"data__unlabelled_fraction": 0.0, "data__label_budget": 60}, "greater than 0"),
    ],
)
def test_shares_of_unlabelled_rows_that_cannot_be(
    changes: dict[str, Any], message: str, experiment: Callable[..., ExperimentConfig]
) -> None:
    with pytest.raises(ConfigError, match=message):
        experiment(**changes)


def test_a_share_that_the_rows_cannot_fill_is_found_before_ray(
    experiment: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline]
) -> None:
    given: dict[str, Any] = {**BUDGET, "data__label_budget": 5, "data__unlabelled_fraction": 0.5}
    with pytest.raises(ConfigError, match="takes 8 labelled rows for each batch of 16, but there are 5; raise it"):
        local(experiment(**given))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": AUGMENT}, "augment is given, but no variant trains on views"),
        ({"student__variants": VARIANTS}, "kd.augment = true, but there is no section augment"),
        (
            {"augment": AUGMENT, "student__variants": VARIANTS, "teacher": None, "logits__file": "x.tsv"},
            "augment needs a teacher that scores its rows, but logits.file = x.tsv",
        ),
        (
            {"augment": AUGMENT, "student__variants": {**VARIANTS, "no_kd": {**VARIANTS["no_kd"], "augment": True}}},
            "no_kd.augment = true, but student.variants.no_kd.objective.kind = fine_tune learns from labels",
        ),
        ({"augment": {"mask": 0.6, "drop": 0.5}}, "augment.mask = 0.6 and augment.drop = 0.5 add up to more than 1"),
        ({"augment": {"mask": 0, "drop": 0, "ngram": 0}}, "so that no view differs"),
    ],
)
def test_views_that_cannot_be_used(changes: dict[str, Any], message: str, experiment: Callable[..., ExperimentConfig]) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment(**changes)
    assert message in str(caught.value)


def test_a_masked_language_model_is_checked_before_ray(
    experiment: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline], small_world: dict[str, str]
) -> None:
    augment = {**AUGMENT, "masked_lm": small_world["teacher"]}
    with pytest.raises(ModelError, match="is no masked language model, but has BertForSequenceClassification"):
        local(experiment(student__variants=VARIANTS, augment=augment))


@pytest.mark.parametrize(
    "changes",
    [
        {"data__task": "multi_label", "student__objective": {"kind": "pseudo_label", "min_confidence": 0.5}},
        {"data__task": "regression", "data__labels": [], "student__objective": {"kind": "mse_kd"}},
        {"data__second_sequence": "other", "data__input_schema": "other:str:1,text:str:1,label:str:1"},
    ],
    ids=["multi-label", "regression", "pairs"],
)
def test_other_tasks_train_on_labelled_rows_unlabelled_rows_and_views(
    changes: dict[str, Any],
    experiment: Callable[..., ExperimentConfig],
    local: Callable[..., LocalPipeline],
    small_world: dict[str, str],
    tmp_path: Path,
) -> None:
    given: dict[str, Any] = {**BUDGET, "augment": AUGMENT, "student__variants": VARIANTS, **changes}
    from transformers import AutoModel, AutoTokenizer

    if "data__second_sequence" in changes:
        for split in ("train", "test"):
            lines = Path(small_world[split]).read_text().splitlines()
            pairs = [f"{first.split(chr(9))[0]}\t{second}\n" for first, second in zip(lines, reversed(lines), strict=True)]
            (tmp_path / f"{split}.tsv").write_text("".join(pairs))
            given[f"data__{split}"] = [str(tmp_path / f"{split}.tsv")]
    if "data__labels" in changes:  # a model for numbers starts from an encoder without a classifier
        for role in ("teacher", "student"):
            AutoModel.from_pretrained(small_world[role]).save_pretrained(tmp_path / role)
            AutoTokenizer.from_pretrained(small_world[role]).save_pretrained(tmp_path / role)
            given[f"{role}__model"] = str(tmp_path / role)
    pipeline = local(experiment(**given))
    students = {one.inputs.variant.name: one for one in pipeline.students()}
    rows = students["kd"].inputs.train
    assert pipeline.trained == ["teacher", "student no kd seed 1", "student labelled seed 1", "student kd seed 1"]
    labelled = [rows.read_group(group)["labelled"].to_pylist() for group in range(len(rows.group_rows))]
    assert sum(map(sum, labelled)) == 60
    assert rows.num_rows > 400


def test_a_budget_above_the_rows_of_the_files_is_refused_before_ray_starts(experiment, local) -> None:
    with pytest.raises(ConfigError, match=r"data\.label_budget = 401, but data\.train has 400 rows; lower it"):
        local(experiment(data__label_budget=401)).check()
