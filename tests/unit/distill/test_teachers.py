"""Several teachers, cross-fitted logits, and logits made elsewhere, from TSV to the comparison table."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raykd.data.folds import Fold
from raykd.data.side_tables import SideTable
from raykd.data.storage import read_json
from raykd.errors import ConfigError
from raykd.models import load_tokenizer
from raykd.predict import ScoreJob, score_locally
from raykd.report.load_tables import load_logits
from tests.unit.metakd.worlds import save_model

SHORT = {"epochs": 1, "batch_size": 32, "learning_rate": 5e-3}
TORCH = {"compute__engine": {"kind": "torch"}, "student__training": SHORT, "student__seeds": [1], "teacher__training": SHORT}


@pytest.fixture
def other_tokenizer(tmp_path):
    """A teacher whose vocabulary, and so its token ids, are another's."""
    from transformers import AutoTokenizer, BertModel

    full = save_model(tmp_path / "full", hidden=32, layers=1, seed=3, extra=3)
    BertModel.from_pretrained(full).save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(full).save_pretrained(tmp_path / "other")
    return str(tmp_path / "other")


def test_several_teachers_with_tokenizers_of_their_own_teach_together(experiment, local, small_world, other_tokenizer):
    assert len(load_tokenizer(other_tokenizer)) != len(load_tokenizer(small_world["student"]))
    teachers = [
        {"model": small_world["teacher"], "weight": 3.0, "training": SHORT},
        {"model": other_tokenizer, "training": SHORT},
    ]
    pipeline = local(experiment(**TORCH, teacher=None, teachers=teachers, student__variants={"kd": {}}))
    comparison = pipeline.run()
    assert pipeline.trained == ["teacher 1", "teacher 2", "student kd seed 1"]

    folder = Path(pipeline.runner.folder)
    first, second, together = (
        load_logits(str(folder / "logits" / name)) for name in ("teacher-1/train", "teacher-2/train", "train")
    )
    np.testing.assert_allclose(together, 0.75 * first + 0.25 * second, atol=1e-6)
    assert [json.loads((folder / f"teachers/{number}/task.json").read_text())["name"] for number in (1, 2)] == [
        "teacher 1", "teacher 2",
    ]  # fmt: skip
    names = [(system.role, system.name) for system in comparison.systems]
    assert names == [("teacher", "teacher ensemble"), ("teacher", "teacher 1"), ("teacher", "teacher 2"),
                     ("student", "kd")]  # fmt: skip
    both, one, two, student = comparison.systems
    assert both.footprint.parameters == one.footprint.parameters + two.footprint.parameters
    assert both.latency.p50_ms > one.latency.p50_ms
    assert student.retention.mean == pytest.approx(student.metrics["accuracy"].mean / both.metrics["accuracy"].mean)
    assert any(line.startswith("teacher ensemble: accuracy") for line in pipeline.runner.said)

    again = local(pipeline.config)
    again.run()
    assert again.trained == []
    assert again.runner.jobs == []


def test_cross_fitted_logits_come_from_teachers_that_never_saw_the_row(experiment, local):
    pipeline = local(experiment(**TORCH, logits__folds=3, student__variants={"kd": {}}))
    side = pipeline.logits()
    assert pipeline.runner.group.asked == [["teacher", *(f"teacher without fold {number}" for number in (1, 2, 3))]], (
        "one queue"
    )
    folder = Path(pipeline.runner.folder)
    rows = pipeline.tokenised("train", pipeline.config.teacher.model)
    tasks = [read_json(str(folder / f"teacher/folds/{number}/task.json")) for number in (1, 2, 3)]
    made, seen = load_logits(side.path), np.zeros(rows.num_rows, int)
    assert np.isfinite(made).all()
    for number, task in enumerate(tasks):
        assert task["train"] == rows.path, "the prepared rows are those of the teacher itself"
        fold = Fold(**task["without"])
        mine = np.concatenate([fold.members(group, rows.read_group(group)) for group in range(len(rows.group_rows))])
        model = str(folder / f"teacher/folds/{number + 1}/model")
        (alone,) = score_locally([ScoreJob(model, rows.path, str(folder / "check"))])
        np.testing.assert_allclose(made[mine], load_logits(alone.path)[mine], atol=1e-5)
        seen += mine
        history = [json.loads(line) for line in (folder / f"teacher/folds/{number + 1}/history.jsonl").read_text().splitlines()]
        steps = next(entry["total_steps"] for entry in history if entry["event"] == "train")
        assert steps == -(-int((~mine).sum()) // 32)
    assert (seen == 1).all()

    models = {candidate.name: candidate.model for candidate in pipeline.candidates()}
    assert models["teacher"] == str(folder / "teacher" / "model"), "what is reported was trained on all rows"


def test_folds_are_refused_where_no_teacher_is_trained(experiment):
    with pytest.raises(ConfigError, match="has fine_tune = false; set it to true"):
        experiment(logits__folds=3, teacher__fine_tune=False)
    with pytest.raises(ConfigError, match=r"but the logits come from logits\.file"):
        experiment(logits__folds=3, logits__file="logits.tsv", teacher=None)
    with pytest.raises(ConfigError, match="both teacher and teachers"):
        experiment(teachers=[{"model": "x"}])


def test_students_learn_from_parquet_and_from_another_runs_logits(experiment, local, tmp_path):
    source = local(experiment(**TORCH, name="source"))
    logits, rows = source.logits(), source.tokenised("train", source.config.student.model)
    names = pa.concat_tables(rows.read_group(group, ["shard", "row"]) for group in range(len(rows.group_rows)))
    table = names.append_column("logits", pa.array(list(map(list, load_logits(logits.path)))))
    pq.write_table(table, tmp_path / "logits.parquet")
    for name, file in (("parquet", str(tmp_path / "logits.parquet")), ("folder", logits.path)):
        changes = {"teacher": None, "logits__file": file, "student__variants": {"kd": {}}}
        pipeline = local(experiment(**{**TORCH, "name": name, **changes, "teacher__training": None}))
        np.testing.assert_array_equal(load_logits(pipeline.logits().path), load_logits(logits.path))
        comparison = pipeline.run()
        assert [system.name for system in comparison.systems] == ["kd"]
        assert isinstance(SideTable.open(pipeline.logits().path), SideTable)


def test_a_run_without_distillation_is_reported_too(experiment, local):
    comparison = local(experiment(**TORCH, student__objective={"kind": "fine_tune"})).run()
    assert [system.name for system in comparison.systems] == ["teacher", "no_kd"]
