"""Meta-KD's tasks as a worker trains them, without Ray: what is saved, what is resumed, what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from raykd.config import DeepSpeedEngineConfig, EngineConfig, TorchEngineConfig
from raykd.config.metakd_objectives import (
    EasyNLPArithmetic,
    MetaDistillationObjective,
    MetaTeacherObjective,
    PredictionObjective,
)
from raykd.data.side_tables import SideTable, commit, write_part
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ConfigError, ModelError, RaykdError
from raykd.metakd.domain_head import DomainHead
from raykd.metakd.prototypes import DOMAIN_ID, WEIGHT
from raykd.models import load_classifier
from raykd.predict import ScoreJob, score_locally
from raykd.run.task import TrainTask
from tests.unit.metakd.tasks import TRAINING, train
from tests.unit.metakd.worlds import LABELS, save_model

COMPAT = EasyNLPArithmetic(sequence_length=32)


def weight_table(rows: TokenisedSet, folder: Path, values: np.ndarray[Any, Any]) -> SideTable:
    """The weights `values` `[N]`, and domains in turn, of rows in a single row group."""
    names = rows.read_group(0, ["shard", "row"]).append_column(WEIGHT, pa.array(values))
    table = names.append_column(DOMAIN_ID, pa.array((np.arange(len(values)) % 3).astype(np.int32)))
    return commit(str(folder), rows, [write_part(str(folder), 0, [table])], [WEIGHT, DOMAIN_ID], {})


def history(task: TrainTask) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(task.history).read_text().splitlines()]


def shares(task: TrainTask) -> dict[str, float]:
    found: dict[str, float] = next(record["shares"] for record in history(task) if record["event"] == "gradient_share")
    return found


@pytest.mark.parametrize("engine", [TorchEngineConfig(), DeepSpeedEngineConfig(zero_stage=0)], ids=["torch", "deepspeed"])
def test_meta_teacher_then_both_stages(
    rows: TokenisedSet, model: str, weights: SideTable, tmp_path: Path, engine: EngineConfig
) -> None:
    given = {"side_tables": (weights,), "engine": engine}
    teacher = train(tmp_path / "meta", model, rows, MetaTeacherObjective(num_domains=3), validation=rows, **given)
    assert set(shares(teacher)) == {"ce", "domain"}
    head = str(tmp_path / "meta" / "domain_head.safetensors")
    assert load_file(head)["domain_embedding.weight"].shape == (3, 16)
    load_classifier(teacher.model_folder, labels=LABELS, new_head=False)

    student = save_model(tmp_path / "student", hidden=8, layers=2, heads=1)
    features = MetaDistillationObjective(teacher=teacher.model_folder, domain_head=head, num_domains=3)
    first = train(tmp_path / "first", student, rows, features, **given)
    pulled = shares(first)
    assert list(pulled) == ["embedding", "hidden", "attention", "domain"]
    assert sum(pulled.values()) == pytest.approx(1)
    assert all(share > 0 for share in pulled.values()), pulled
    assert sorted(path.name for path in (tmp_path / "first").glob("*.safetensors")) == [
        "domain_head.safetensors", "projections.safetensors",
    ]  # fmt: skip

    logits = score_locally([ScoreJob(teacher.model_folder, rows.path, str(tmp_path / "logits"))])[0]
    objective = PredictionObjective(expertise=True)
    second = train(tmp_path / "second", first.model_folder, rows, objective, logits=logits, validation=rows, **given)
    load_classifier(second.model_folder, labels=LABELS, new_head=False)
    assert not list((tmp_path / "second").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("compat", "dropout", "expected"),
    [(None, None, 0.1), (None, 0.0, 0.0), (None, 0.3, 0.3), (COMPAT, None, 0.2), (COMPAT, 0.3, 0.3)],
)
def test_the_domain_head_drops_out_as_the_training_says_and_negative_weights_are_reported(  # noqa: PLR0917 (fixtures)
    rows: TokenisedSet, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compat: Any, dropout: Any, expected: float
) -> None:
    config = Path(shutil.copytree(model, tmp_path / "model"), "config.json")
    config.write_text(config.read_text().replace('"hidden_dropout_prob": 0.1', '"hidden_dropout_prob": 0.2'))
    values = np.linspace(-0.05, 1, rows.num_rows, dtype=np.float32)
    table = weight_table(rows, tmp_path / "w", values)
    seen: list[float] = []
    forward = DomainHead.forward
    monkeypatch.setattr(DomainHead, "forward", lambda head, *args: seen.append(head.dropout.p) or forward(head, *args))
    training = TRAINING.model_copy(update={"dropout": dropout, "epochs": 1})
    objective = MetaTeacherObjective(num_domains=3, compat=compat)
    task = train(tmp_path / "t", str(tmp_path / "model"), rows, objective, training=training, side_tables=(table,))
    assert set(seen) == {expected}
    told = [entry["message"] for entry in history(task) if entry["event"] == "warning"]
    negative = int((values < 0).sum())
    message = f"{negative} of 60 instance weights are below 0 (negative cosines) and count as 0 in the loss"
    assert told == ([] if compat else [message])


def test_an_interrupted_first_stage_continues_bit_for_bit(
    rows: TokenisedSet, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TinyBERT's stage needs no weights; projections are part of the checkpoint. (Stored states differ in their last bits.)"""
    student = save_model(tmp_path / "student", hidden=8, layers=2, heads=1)
    objective = MetaDistillationObjective(teacher=model, domain_loss_weight=0, expertise=False, teacher_states="live")
    settings = {"training": TRAINING.model_copy(update={"checkpoint_steps": 3, "dropout": 0.1})}
    whole = train(tmp_path / "whole", student, rows, objective, **settings)

    from raykd.trainers.trainer import Trainer

    step = Trainer._take_step
    monkeypatch.setattr(Trainer, "_take_step", lambda trainer, rows: step(trainer, rows) if rows.step < 4 else stop())
    with pytest.raises(RaykdError, match="power cut"):
        train(tmp_path / "cut", student, rows, objective, **settings)
    monkeypatch.undo()
    cut = train(tmp_path / "cut", student, rows, objective, **settings)
    assert '"event": "resumed"' in Path(cut.history).read_text()
    for name in ("model/model.safetensors", "projections.safetensors"):
        expected, actual = (load_file(Path(task.folder, name)) for task in (whole, cut))
        assert expected.keys() == actual.keys()
        assert all(torch.equal(actual[key], value) for key, value in expected.items()), name


def stop() -> None:
    raise RaykdError("power cut")


def test_teachers_and_layers_that_do_not_fit_are_refused(
    rows: TokenisedSet, model: str, weights: SideTable, tmp_path: Path
) -> None:
    student = save_model(tmp_path / "student", hidden=8, layers=3, heads=1)
    with pytest.raises(ConfigError, match="4 teacher layers cannot be divided evenly among 3"):
        train(tmp_path / "a", student, rows, MetaDistillationObjective(teacher=model, domain_loss_weight=0, expertise=False))
    objective = MetaDistillationObjective(teacher=model, layers=((3, 4),), num_domains=3)
    with pytest.raises(ModelError, match="no domain head"):
        train(tmp_path / "b", student, rows, objective, side_tables=(weights,))
