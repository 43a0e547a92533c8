"""Students of a Meta-KD run that start from layers of a larger model."""

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from raykd.errors import ModelError
from raykd.metakd.dry_run import outline
from tests.local_pipeline import LocalMetaPipeline
from tests.unit.metakd.worlds import make_config, save_model

LAYER = "bert.encoder.layer.{}.output.dense.weight"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_students_start_from_layers_of_the_fine_tuned_meta_teacher(tmp_path: Path) -> None:
    config = make_config(tmp_path, seeds=[1], model=str(tmp_path / "teacher"), init={"from": "teacher", "layers": [1]})
    config = config.model_copy(update={"baselines": ("hard_labels", "meta_teacher")})
    pipeline = LocalMetaPipeline(config)
    pipeline.check()
    report = pipeline.run()
    assert report is not None
    assert pipeline.trained[0] == "meta teacher"
    assert "hard labels, dvd, seed 1" in pipeline.trained
    folder = tmp_path / "runs/small"
    initial, teacher = weights(folder / "students/initial/model"), weights(folder / "teachers/meta/model")
    assert json.loads((folder / "students/initial/model/config.json").read_text())["num_hidden_layers"] == 1
    assert torch.equal(initial[LAYER.format(0)], teacher[LAYER.format(1)])
    assert torch.equal(initial["classifier.weight"], teacher["classifier.weight"])
    for task in ("hard_labels/dvd/seed1", "meta_kd/dvd/seed1/intermediate", "meta_teacher/dvd/seed1/intermediate"):
        settings = json.loads((folder / "students" / task / "task.json").read_text())
        assert settings["model"] == str(folder / "students/initial/model")
    assert "layers 1 of the fine-tuned teacher" in outline(config)

    again = LocalMetaPipeline(config)
    assert again.run() == report
    assert (again.trained, again.scored) == ([], 0)


def test_students_start_from_layers_of_their_model(tmp_path: Path) -> None:
    large = save_model(tmp_path / "large", hidden=16, layers=4, seed=3)
    config = make_config(tmp_path, seeds=[1], model=large, init={"layers": [0, 2]}).model_copy(update={"baselines": ()})
    pipeline = LocalMetaPipeline(config)
    pipeline.check()
    pipeline.students()
    initial = weights(tmp_path / "runs/small/students/initial/model")
    assert torch.equal(initial[LAYER.format(1)], weights(Path(large))[LAYER.format(2)])
    assert LAYER.format(2) not in initial


def test_layers_that_cannot_be_taken_are_found_before_anything_starts(tmp_path: Path) -> None:
    config = make_config(tmp_path, model=str(tmp_path / "teacher"), init={"from": "teacher", "layers": [0, 2]})
    with pytest.raises(ModelError, match=r"layers = \[0, 2\]: .*teacher has 2 layers, 0 to 1, and no layer 2"):
        LocalMetaPipeline(config).check()
    with pytest.raises(ValidationError, match=r"leave student\.model out, or set init\.from to model"):
        make_config(tmp_path, init={"from": "teacher"})


def test_the_teachers_model_need_not_be_named_again(tmp_path: Path) -> None:
    content = make_config(tmp_path, model=str(tmp_path / "teacher"), init={"from": "teacher"}).model_dump(mode="json")
    del content["student"]["model"]
    assert type(make_config(tmp_path)).model_validate(content).student.model == str(tmp_path / "teacher")
