"""A user's own objective: found, constructed, and held to one number per row and term."""

import sys

import pytest
import torch

from raykd.config import CustomObjectiveConfig
from raykd.errors import ConfigError, TrainingError
from raykd.trainers.custom_objective import load_objective, source_digest
from raykd.trainers.objective import ObjectiveOutput

SOURCE = """
from dataclasses import dataclass

import torch
from raykd.errors import ConfigError
from raykd.trainers.objective import Objective, ObjectiveOutput, valid_labels, valid_logits, valid_teacher_logits


@dataclass(frozen=True, kw_only=True)
class CosineKD(Objective):
    weight: float
    power: int = 1

    def __post_init__(self):
        if self.weight < 0:
            raise ValueError("weight must not be negative")

    @property
    def side_columns(self):
        return ("logits",)

    @property
    def needs_labels(self):
        return False

    def __call__(self, model, batch):
        student, teacher = valid_logits(model, batch).float(), valid_teacher_logits(batch)
        return ObjectiveOutput({"cosine": self.weight * (1 - torch.cosine_similarity(student, teacher, dim=-1))})


class NoArguments(Objective):
    def __call__(self, model, batch):
        return ObjectiveOutput({"ce": torch.nn.functional.cross_entropy(valid_logits(model, batch), valid_labels(batch))})


class Forgotten(Objective):
    pass


class Fails(Objective):
    def __call__(self, model, batch):
        return batch.no_such_field


def function():
    pass
"""


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """A package beside the job file, which raykd knows nothing of."""
    folder = tmp_path / "my_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "losses.py").write_text(SOURCE)
    (folder / "broken.py").write_text("import math\nvalue = 1 / 0\n")
    (folder / "needy.py").write_text("import no_such_library\n")
    monkeypatch.chdir(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]
    sys.path[:] = [path for path in sys.path if path != str(tmp_path)]


def test_a_class_beside_the_job_file_is_found_and_constructed():
    objective = load_objective("my_package.losses:CosineKD", {"weight": 0.5})
    assert objective.inner.weight == 0.5
    assert objective.side_columns == ("logits",)
    assert not objective.needs_labels
    assert objective.at(0.3) == objective


@pytest.mark.parametrize(
    ("target", "arguments", "said"),
    [
        ("my_packag.losses:CosineKD", {}, "there is no module my_packag; a local run imports from the current folder"),
        ("my_package.loss:CosineKD", {}, "there is no module my_package.loss;"),
        ("my_package.needy:CosineKD", {}, "my_package.needy needs no_such_library, which is not installed"),
        ("my_package.broken:CosineKD", {}, "importing my_package.broken raised ZeroDivisionError: division by zero"),
        ("my_package.losses:CosinKD", {}, "has no CosinKD; did you mean CosineKD?"),
        ("my_package.losses:function", {}, "function is not a subclass of raykd.trainers.objective.Objective"),
        ("my_package.losses:Forgotten", {}, "has no __call__(self, model, batch)"),
        ("my_package.losses:CosineKD", {}, "needs weight; give a value in student.objective.arguments"),
        ("my_package.losses:CosineKD", {"wieght": 1.0}, "has no argument 'wieght'; did you mean weight?"),
        ("my_package.losses:NoArguments", {"weight": 1.0}, "has no argument 'weight'"),
        ("my_package.losses:CosineKD", {"weight": -1}, "refuses arguments {'weight': -1}: ValueError: weight must not be"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_the_reason(target, arguments, said):
    with pytest.raises(ConfigError) as caught:
        load_objective(target, arguments)
    assert target in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("target", ["my_package.losses", "my_package/losses.py:A", "a:b:c", "a b:C", ":C", ""])
def test_a_target_is_a_module_and_a_class(target):
    with pytest.raises(ValueError, match="target"):
        CustomObjectiveConfig(target=target)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "returned NoneType; it must return an ObjectiveOutput"),
        (torch.tensor(1.0), "returned Tensor; it must"),
        (ObjectiveOutput({}), "at least one term"),
        (ObjectiveOutput({"a": torch.tensor(1.0)}), "term 'a' has shape []"),
        (ObjectiveOutput({"a": torch.ones(3, 2)}), "term 'a' has shape [3, 2]"),
        (ObjectiveOutput({"a": 1.0}), "term 'a' has type float"),
        (ObjectiveOutput({"a": torch.ones(3, dtype=torch.bfloat16)}), "term 'a' has dtype torch.bfloat16"),
    ],
    ids=str,
)
def test_an_output_is_one_number_per_row_and_term(returned, said):
    objective = load_objective("my_package.losses:CosineKD", {"weight": 0.5})
    with pytest.raises(TrainingError) as caught:
        objective._check_output(returned, 3)
    assert "my_package.losses:CosineKD" in str(caught.value)
    assert said in str(caught.value)
    objective._check_output(ObjectiveOutput({"a": torch.ones(3)}), 3)


def test_an_error_in_the_users_code_names_the_objective_the_file_and_the_line(package):
    objective = load_objective("my_package.losses:Fails", {})
    with pytest.raises(TrainingError) as caught:
        objective(torch.nn.Linear(1, 1), object())
    line = 1 + SOURCE.splitlines().index("        return batch.no_such_field")
    assert "objective my_package.losses:Fails raised AttributeError" in str(caught.value)
    assert f"{package / 'losses.py'}, line {line}" in str(caught.value)


def test_the_digest_follows_the_source(package):
    before = source_digest("my_package.losses:CosineKD")
    assert source_digest("my_package.losses:CosineKD") == before
    (package / "losses.py").write_text(SOURCE.replace("1 - torch", "2 - torch"))
    assert source_digest("my_package.losses:CosineKD") != before
