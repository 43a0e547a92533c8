"""Intermediate-layer distillation in `raykd run`, from TSV to the comparison, without Ray."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from raykd.config import build
from raykd.distill.checks import check_experiment
from raykd.errors import ConfigError, ModelError
from raykd.models import model_digest
from tests.conftest import save_model as save_small_model
from tests.unit.metakd.worlds import save_model

SHORT = {"epochs": 1, "batch_size": 32, "learning_rate": 5e-3, "log_every": 1}
QUICK = {"compute__engine": {"kind": "torch"}, "student__training": SHORT, "student__seeds": [1], "teacher__training": SHORT}
RELATION = {"relation_weight": 1.0, "embedding_weight": 0.0, "hidden_weight": 0.0, "attention_weight": 0.0, "layers": "last"}


def history(folder: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "history.jsonl").read_text().splitlines()]


def terms(folder: str | Path) -> set[str]:
    return next(set(entry["terms"]) for entry in history(folder) if entry["event"] == "train")


def test_before_trains_features_first_and_the_objective_goes_on_from_that_model(experiment, local):
    section = {"relation_weight": 2.0, "training": {**SHORT, "epochs": 2}}
    config = experiment(**QUICK | {"student__seeds": [1, 2]}, student__intermediate=section)
    pipeline = local(config)
    comparison = pipeline.run()
    assert pipeline.trained == [
        "teacher",
        *(f"student kd seed {seed}, intermediate layers" for seed in (1, 2)),
        *(f"student no kd seed {seed}" for seed in (1, 2)),
        *(f"student kd seed {seed}" for seed in (1, 2)),
    ]
    folder = Path(pipeline.runner.folder)
    first, student = folder / "students/kd-seed1/intermediate", folder / "students/kd-seed1"
    assert terms(first) == {"embedding", "hidden", "attention", "relation"}
    assert terms(student) == {"kd_kl", "ce"}
    task = json.loads((student / "task.json").read_text())
    assert task["model"] == str(first / "model")
    assert model_digest(str(first / "model")) != model_digest(config.student.model)
    baseline = json.loads((folder / "students/no_kd-seed1/task.json").read_text())
    assert baseline["training"]["epochs"] == 3, "as many as the distilled student has in all"
    assert [system.name for system in comparison.systems] == ["teacher", "no_kd", "kd"]
    card = (student / "model" / "README.md").read_text()
    assert "after intermediate layers (embedding=1, hidden=1, attention=1, relation=2)" in card

    again = local(config)
    again.run()
    assert again.trained == []


@pytest.mark.parametrize("stage", [0, 3])
def test_before_runs_under_deepspeed_with_weights_that_no_loss_reaches(experiment, local, stage):
    """The relation of the last layer reaches neither the classifier nor the last feed-forward layer."""
    engine = {"kind": "deepspeed", "zero_stage": stage}
    section = {**RELATION, "training": {**SHORT, "epochs": 6}}
    changes = {**QUICK, "compute__engine": engine, "student__variants": {"kd": {}}, "student__intermediate": section}
    pipeline = local(experiment(**changes))
    task = pipeline.students()[0].task
    losses = [entry["loss"] for entry in history(Path(task.folder, "intermediate")) if entry["event"] == "train"]
    epoch = len(losses) // 6
    assert sum(losses[-epoch:]) < 0.7 * sum(losses[:epoch])


def test_joint_adds_the_losses_to_the_objective_and_projections_stay_out_of_the_model(experiment, local):
    section = {"mode": "joint", "relation_weight": 1.0, "teacher_states": "stored"}
    pipeline = local(experiment(**QUICK, student__intermediate=section))
    no_kd, kd = (one.task for one in pipeline.students())
    assert terms(kd.folder) == {"embedding", "hidden", "attention", "relation", "kd_kl", "ce"}
    assert terms(no_kd.folder) == {"ce"}
    assert no_kd.training.epochs == 1
    assert any(entry["event"] == "eval" for entry in history(kd.folder))
    assert sorted(path.name for path in Path(kd.folder).glob("*.safetensors")) == ["projections.safetensors"]

    from transformers import AutoModelForSequenceClassification

    _, report = AutoModelForSequenceClassification.from_pretrained(kd.model_folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


def test_other_losses_train_another_student(experiment, local):
    """The task's key holds the losses and the teacher's content."""
    section = {"mode": "joint"}
    keys = [
        local(experiment(**QUICK | {"student__variants": {"kd": {}}}, student__intermediate=section | more))
        .students()[0]
        .task.key
        for more in ({}, {"hidden_weight": 0.5}, {"teacher_states": "live"})
    ]
    assert keys[0] != keys[1]
    assert keys[0] == keys[2], "where the states come from changes no number"


def test_a_custom_objective_that_is_joined_trains_again_when_its_code_changes(experiment, local, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    code = """
from dataclasses import dataclass
from raykd.losses import mse_logits
from raykd.trainers.objective import Objective, ObjectiveOutput, valid_logits, valid_teacher_logits

@dataclass(frozen=True)
class Mine(Objective):
    side_columns = ("logits",)
    needs_labels = False

    def __call__(self, model, batch):
        return ObjectiveOutput({"mine": FACTOR * mse_logits(valid_logits(model, batch), valid_teacher_logits(batch))})
"""
    keys = []
    for factor in ("1.0", "2.0"):
        (tmp_path / "joined_objective.py").write_text(code.replace("FACTOR", factor))
        sys.modules.pop("joined_objective", None)
        importlib.invalidate_caches()
        custom = {"kind": "custom", "target": "joined_objective:Mine"}
        changes = {**QUICK, "student__variants": {"kd": {}}, "student__intermediate": {"mode": "joint"}}
        task = local(experiment(**changes, student__objective=custom)).students()[0].task
        assert terms(task.folder) == {"embedding", "hidden", "attention", "mine"}
        keys.append(task.key)
    assert keys[0] != keys[1]


@pytest.mark.parametrize(("rows", "logit_terms"), [("tagged", {"kd_bce", "bce"}), ("rated", {"kd_mse", "mse"})])
def test_multi_label_rows_and_numbers(rows, logit_terms, request, local):
    content = request.getfixturevalue(rows)
    for one in ("teacher", "student"):
        content[one]["training"] = content[one]["training"] | {"epochs": 1}
    content["student"] |= {"intermediate": {"mode": "joint", "relation_weight": 1.0}, "seeds": [1], "variants": {"kd": {}}}
    task = local(build(content)).students()[0].task
    assert terms(task.folder) == {"embedding", "hidden", "attention", "relation", *logit_terms}


def test_pairs_of_texts(experiment, local, small_world, tmp_path):
    rows = [line.rstrip("\n").split("\t") for line in Path(small_world["train"]).read_text().splitlines()]
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{text}\t{rows[-number - 1][0]}\t{label}\n" for number, (text, label) in enumerate(rows[:100])))
    data = {
        "data__input_schema": "text:str:1,other:str:1,label:str:1", "data__second_sequence": "other",
        "data__train": [str(pairs)], "data__test": [str(pairs)],
    }  # fmt: skip
    config = experiment(
        **QUICK | {"student__variants": {"kd": {}}}, **data, student__intermediate={**RELATION, "layers": [[1, 1]]}
    )
    task = local(config).students()[0].task
    assert terms(Path(task.folder, "intermediate")) == {"relation"}


@pytest.mark.parametrize(("teacher", "student"), [("bert", "distilbert"), ("distilbert", "bert")])
def test_architectures_may_differ_where_the_vocabulary_is_one(experiment, local, tmp_path, teacher, student):
    models = {
        "teacher__model": save_small_model(tmp_path / "teacher", hidden=16, seed=1, architecture=teacher),
        "student__model": save_small_model(tmp_path / "student", hidden=8, seed=2, architecture=student),
    }
    section = {"mode": "joint", "relation_weight": 1.0}
    pipeline = local(experiment(**QUICK | models, student__variants={"kd": {}}, student__intermediate=section))
    pipeline.check()
    task = pipeline.students()[0].task
    assert terms(task.folder) == {"embedding", "hidden", "attention", "relation", "kd_kl", "ce"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student__objective": {"kind": "fine_tune"}}, "student.objective.kind = fine_tune learns from labels alone"),
        (
            {"student__intermediate": dict.fromkeys(["embedding_weight", "hidden_weight", "attention_weight"], 0)},
            "is 0; give one",
        ),
        ({"student__intermediate": {"mode": "joint", "training": SHORT}}, "remove it, or set mode to before"),
        ({"student__intermediate": {"layers": [[1, 1], [1, 1]]}}, "each student layer once"),
        ({"student__intermediate": {"layers": [[1, 2]]}}, r"\[1, 2\] is not a pair of a student layer 1 .. 1"),
        ({"student__intermediate": {"relation_weight": 1, "relation_heads": 5}}, "relation_heads = 5 does not divide"),
    ],
)
def test_what_does_not_fit_is_refused_before_ray_starts(experiment, changes, message):
    with pytest.raises(ConfigError, match=message):
        check_experiment(experiment(**{"student__intermediate": {}} | changes))


def test_jobs_without_one_teacher_are_refused(experiment, small_world, tmp_path):
    teachers = [{"model": small_world["teacher"]}] * 2
    with pytest.raises(ConfigError, match="one teacher, but teachers lists 2"):
        experiment(student__intermediate={}, teacher=None, teachers=teachers)
    with pytest.raises(ConfigError, match=r"only its logits \(logits.file\); add teacher"):
        experiment(student__intermediate={}, teacher=None, logits__file=str(tmp_path / "logits.tsv"))


def test_teachers_that_cannot_be_compared_are_refused(experiment, tmp_path):
    other = save_model(tmp_path / "other", hidden=16, layers=1, extra=3)
    with pytest.raises(ConfigError, match=r"teacher.model = .* and student.model = .* have different tokenizers"):
        check_experiment(experiment(student__intermediate={}, teacher__model=other))

    from transformers import MPNetConfig, MPNetForSequenceClassification

    from raykd.models import load_tokenizer, save_classifier

    tokenizer = load_tokenizer(experiment().teacher.model)
    small = MPNetConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    save_classifier(MPNetForSequenceClassification(small), tokenizer, str(tmp_path / "mpnet"))
    with pytest.raises(ModelError, match=r"teacher.model = .*mpnet is of type mpnet, whose attention cannot be replaced"):
        check_experiment(experiment(student__intermediate={}, teacher__model=str(tmp_path / "mpnet")))
