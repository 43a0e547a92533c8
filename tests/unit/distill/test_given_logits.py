"""Students that learn from answers made elsewhere, joined by an id column of the training files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raykd.config import ExperimentConfig
from raykd.errors import ConfigError, DataError
from raykd.report.load_tables import load_logits
from tests.local_pipeline import LocalPipeline

SHORT = {"epochs": 1, "batch_size": 32, "learning_rate": 5e-3}


@pytest.fixture
def keyed(experiment: Callable[..., ExperimentConfig], small_world: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """The small experiment with a column ``id``, whose logits are the ``lines`` of a JSONL file."""

    def make(lines: list[Any], *, variants: dict[str, Any] | None = None, **settings: Any) -> ExperimentConfig:
        for name in ("train", "test"):
            rows = Path(small_world[name]).read_text().splitlines()
            (tmp_path / f"{name}.tsv").write_text("".join(f"{name}-{n}\t{row}\n" for n, row in enumerate(rows)))
        (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        data = {"input_schema": "id:str:1,text:str:1,label:str:1", "train": [str(tmp_path / "train.tsv")],
                "test": [str(tmp_path / "test.tsv")]}  # fmt: skip
        changes = {f"data__{key}": value for key, value in data.items()}
        changes |= {f"logits__{key}": value for key, value in {"file": str(tmp_path / "answers.jsonl"), **settings}.items()}
        changes["student__variants"] = {"kd": {}} if variants is None else variants
        return experiment(
            teacher=None, student__training=SHORT, student__seeds=[1], compute__engine={"kind": "torch"}, **changes
        )

    return make


def answers(small_world: dict[str, str]) -> list[dict[str, Any]]:
    """Log-probabilities that favour each row's label, in reverse order; only the label's own is given."""
    labels = [line.split("\t")[1] for line in Path(small_world["train"]).read_text().splitlines()]
    return [{"id": f"train-{n}", "logprobs": {label: -0.1, "other": -3.0}} for n, label in reversed(list(enumerate(labels)))]


def test_a_student_learns_from_log_probabilities_joined_by_id(
    keyed: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline], small_world: dict[str, str]
) -> None:
    config = keyed(answers(small_world), kind="top_logprobs", column="logprobs", key="id", floor=-4.0)
    pipeline = local(config)
    comparison = pipeline.run()
    assert comparison is not None
    assert [system.name for system in comparison.systems] == ["kd"]
    assert "logits.file: 400 answers" in pipeline.runner.said
    side = pipeline.logits()
    assert side is not None
    rows = pipeline.tokenised("train", config.student.model)
    labels = np.concatenate([rows.read_group(group)["label"].to_numpy() for group in range(len(rows.group_rows))])
    assert 0 < len(labels) < 400, "the other rows are in the validation set"
    right = np.exp(-0.1) / (np.exp(-0.1) + np.exp(-4.0))
    np.testing.assert_allclose(np.exp(load_logits(side.path))[np.arange(len(labels)), labels], right, rtol=1e-5)

    again = local(config)
    again.logits()
    assert "logits: finished before, skipped" in again.runner.said
    changed = local(config.model_copy(update={"logits": config.logits.model_copy(update={"floor": -6.0})}))
    changed.logits()
    assert "logits.file: 400 answers" in changed.runner.said


def test_ids_without_partner_stop_the_run_unless_allowed(
    keyed: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline], small_world: dict[str, str]
) -> None:
    lines = [*answers(small_world)[:300], {"id": "new", "logprobs": {"0": -1.0}}]
    settings = {"kind": "top_logprobs", "column": "logprobs", "key": "id"}
    with pytest.raises(DataError, match=r"ids of no row of the training files \(1 in 301 answers\): 'new'"):
        local(keyed(lines, **settings)).logits()
    with pytest.raises(DataError, match=r"training rows without an answer \(\d+ in 301 answers\): 'train-"):
        local(keyed(lines, **settings, unknown_ids="ignore")).logits()
    pipeline = local(keyed(lines, **settings, unknown_ids="ignore", missing_ids="uniform"))
    pipeline.logits()
    assert any("training rows without one (uniform), 1 of unknown ids (ignored)" in line for line in pipeline.runner.said)


def test_a_wrong_answer_of_any_row_stops_the_run_before_it_trains(
    keyed: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline], small_world: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The student without KD, which needs no answers, trains beside the other stages where the machine has free CPUs."""
    lines = answers(small_world)
    lines[350]["logprobs"]["1"] = 0.5
    config = keyed(
        lines,
        kind="top_logprobs",
        column="logprobs",
        key="id",
        variants={"no_kd": {"objective": {"kind": "fine_tune"}}, "kd": {}},
    )
    pipeline = local(config)
    monkeypatch.setattr(pipeline.runner, "train_beside", pipeline.runner.train)
    with pytest.raises(DataError, match=r"answers\.jsonl:351: '1' has the log-probability 0\.5, which is above 0"):
        pipeline.run()
    assert pipeline.trained == []


def test_a_table_of_logits_has_no_other_kind(
    keyed: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"logits\.kind = votes, but .*folder is a folder of logits of another run"):
        local(keyed([], file=str(tmp_path / "folder"), kind="votes")).logits()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "top_logprobs", "column": "lp", "key": "id"}, r"answers\.jsonl:1: no key 'lp', but 'id', 'logprobs'"),
        ({"kind": "probabilities", "file": "p.csv"}, r"p\.csv: there is no column 'logits', but neg, pos"),
        ({"kind": "probabilities", "file": "p.tsv", "column": "a"}, "columns of a TSV are counted from 0"),
        ({"file": "p.parquet"}, r"p\.parquet is no Parquet file"),
        ({"file": "p.jsonl"}, r"p\.jsonl does not exist"),
    ],
)
def test_files_of_another_form_are_refused_before_ray_starts(
    settings: dict[str, Any],
    message: str,
    keyed: Callable[..., ExperimentConfig],
    local: Callable[..., LocalPipeline],
    tmp_path: Path,
) -> None:
    for name in ("p.csv", "p.tsv", "p.parquet"):
        (tmp_path / name).write_text("neg,pos\n0.5,0.5\n")
    changes = {**settings, **({"file": str(tmp_path / settings["file"])} if "file" in settings else {})}
    with pytest.raises((DataError, ConfigError), match=message):
        local(keyed([{"id": "train-0", "logprobs": {"0": -1.0}}], **changes)).check()


def test_the_column_of_ids_is_looked_for_before_ray_starts(
    keyed: Callable[..., ExperimentConfig], local: Callable[..., LocalPipeline], small_world: dict[str, str], tmp_path: Path
) -> None:
    config = keyed(answers(small_world), kind="top_logprobs", column="logprobs", key="id")
    rows = "".join(f"film {number},{number % 2}\n" for number in range(100))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}")
    named = {"input_schema": None, "train": (str(tmp_path / "rows.csv"),), "validation": 0.2, "test": "validation"}
    unnamed = config.model_copy(update={"data": config.data.model_copy(update=named)})
    with pytest.raises(DataError, match=r"rows\.csv: there is no column 'id', but text, label"):
        local(unnamed).check()
