"""A distillation with an objective from a package outside raykd: no file of raykd changes for it."""

import hashlib
import json
import sys
from pathlib import Path

import pytest

import raykd
from raykd.config import build
from raykd.errors import ConfigError, TrainingError

SOURCE = """
from dataclasses import dataclass

import torch
from raykd.losses import cross_entropy
from raykd.trainers.objective import Objective, ObjectiveOutput, valid_labels, valid_logits, valid_teacher_logits


@dataclass(frozen=True)
class CosineKD(Objective):
    weight: float = 0.5
    total: bool = False

    @property
    def side_columns(self):
        return ("logits",)

    def __call__(self, model, batch):
        student, teacher = valid_logits(model, batch).float(), valid_teacher_logits(batch)
        distance = 1 - torch.cosine_similarity(student, teacher, dim=-1)
        if self.total:
            distance = distance.sum()
        labels = cross_entropy(student, valid_labels(batch))
        return ObjectiveOutput({"cosine": self.weight * distance, "ce": (1 - self.weight) * labels})


class Labels(Objective):
    def __call__(self, model, batch):
        return ObjectiveOutput({"ce": cross_entropy(valid_logits(model, batch), valid_labels(batch))})
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "user_losses").mkdir()
    (tmp_path / "user_losses" / "__init__.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    yield "user_losses:CosineKD"
    sys.modules.pop("user_losses", None)
    sys.path[:] = [path for path in sys.path if path != str(tmp_path)]


def hash_of_raykd():
    files = sorted(Path(raykd.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def settings(target, **arguments):
    return {
        "student__objective": {"kind": "custom", "target": target, "arguments": arguments},
        "student__seeds": [1],
        "compute__engine": {"kind": "torch"},
    }


def test_an_objective_from_outside_raykd_distils_and_a_changed_one_trains_again(experiment, local, package, tmp_path):
    before = hash_of_raykd()
    pipeline = local(experiment(**settings(package, weight=0.9)))
    comparison = pipeline.run()
    assert hash_of_raykd() == before
    assert [system.name for system in comparison.systems][-1] == "kd"
    history = Path(pipeline.runner.folder) / "students/kd-seed1/history.jsonl"
    steps = [json.loads(line) for line in history.read_text().splitlines()]
    losses = [step for step in steps if step["event"] == "train"]
    assert losses
    assert {tuple(step["terms"]) for step in losses} == {("cosine", "ce")}

    again = local(experiment(**settings(package, weight=0.9)))
    again.run()
    assert again.trained == []
    (tmp_path / "user_losses" / "__init__.py").write_text(SOURCE.replace("1 - torch", "2 - 2 * torch"))
    changed = local(experiment(**settings(package, weight=0.9)))
    changed.run()
    assert changed.trained == ["student kd seed 1"]


def test_a_sum_over_rows_is_refused_with_the_objectives_name(experiment, local, package):
    pipeline = local(experiment(**settings(package, total=True)))
    with pytest.raises(TrainingError, match=r"objective user_losses:CosineKD: term 'cosine' has shape \[\] for a batch of"):
        pipeline.run()


def test_a_job_needs_what_the_objective_reads(experiment, local, package):
    with pytest.raises(ConfigError, match=r"student\.objective reads the teacher's logits, but there is neither"):
        local(experiment(**settings(package), teacher=None))
    content = experiment(**settings("user_losses:Labels")).model_dump(mode="json")
    content["data"]["label"] = None
    content["teacher"]["fine_tune"] = False
    content["student"]["variants"] = {"kd": {}}
    with pytest.raises(ConfigError, match=r"student\.objective needs labels, but data.label is not set"):
        local(build(content))
