"""A meta_kd job file: what is refused, and in what words."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from raykd.cli import app
from raykd.config import MetaKDConfig, load_job, merge
from raykd.errors import ConfigError
from raykd.metakd.pipeline import MetaKDPipeline
from raykd.metakd.tasks import label_training, students, teachers
from raykd.progress import Terminal
from raykd.stage_names import SPLITS
from tests.unit.metakd.worlds import job_content, save_model, write_rows


def job(tmp_path: Path, **changes: Any) -> str:
    content = job_content(tmp_path, teacher="large", student="small")
    content["student"]["seeds"] = [1, 2]
    merged = merge(content, [(path.split("__"), value) for path, value in changes.items()])
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(merged))
    return str(tmp_path / "job.yaml")


def load(path: str) -> MetaKDConfig:
    config = load_job(path)
    assert isinstance(config, MetaKDConfig)
    return config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "meta"}, "it is meta_kd, or left out"),
        ({"student__domains": ["toys"]}, "'toys' does not exist; domains are books, dvd, kitchen"),
        ({"domains": ["books"]}, "give at least 2"),
        ({"reviews": {"folder": "x"}}, "give either reviews"),
        ({"data__domain": "genre"}, "'genre' is not a column"),
        ({"student__intermediate__hiden_weight": 1}, "did you mean hidden_weight"),
        ({"teacher__domain_loss": "random"}, "teacher.domain_loss = 'random'"),
        ({"baselines": ["bert"]}, "hard_labels"),
        ({"student__seeds": [1, 1]}, "each once"),
        ({"teacher__training__class_weights": "balanced"}, "class_weights = balanced is for distillations without domains"),
        ({"compat": "easynlp", "compute": {"num_workers": 2}}, "compute.num_workers = 2 cuts; set it to 1$"),
        ({"compat": "easynlp", "student__mode": "single"}, "set it to two_stages"),
        (
            {"compat": "easynlp", "student__intermediate__training__micro_batch_size": 8},
            r"student.intermediate.training.micro_batch_size = 8 cuts; leave it out$",
        ),
        (
            {"teacher__domain_loss": "permuted", "compute": {"num_workers": [1, 2]}},
            r"domain_loss = permuted .* compute.num_workers = \(1, 2\) cuts; set it to 1, or take domain_loss = wrong",
        ),
        (
            {"teacher__domain_loss": "permuted", "teacher__training__micro_batch_size": 8},
            "domain_loss = permuted .* teacher.training.micro_batch_size = 8 cuts; leave it out, or take domain_loss = wrong",
        ),
        ({"compat": "easynlp", "compute": {"attention": "unpadded"}}, "averages over padding"),
        ({"compat": "bert"}, "easynlp"),
        ({"compat": "easynlp", "teacher__domain_loss": "reversed"}, "has no teacher.domain_loss = reversed"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_job(job(tmp_path, **changes))


def test_the_queue_has_every_row_of_the_papers_table(tmp_path: Path) -> None:
    config = load(job(tmp_path))
    assert [kind for kind, _ in teachers(config)] == ["meta", "mixed", "single", "single", "single"]
    assert len(students(config, distilled=True)) == 4 * 3 * 2
    assert len(students(config, distilled=False)) == 3 * 2
    few = load(job(tmp_path, baselines=["meta_teacher"], student__domains=["dvd"]))
    assert [kind for kind, _ in teachers(few)] == ["meta"]
    assert {one.domain for one in students(few, distilled=True)} == {"dvd"}


def test_two_tokenizers_and_layers_that_do_not_divide_are_refused_before_anything_starts(tmp_path: Path) -> None:
    teacher = save_model(tmp_path / "teacher", hidden=16, layers=4)
    other = save_model(tmp_path / "other", hidden=8, heads=1, extra=3)
    deep = save_model(tmp_path / "deep", hidden=8, heads=1, layers=3)
    for student, message in ((other, "have different tokenizers"), (deep, "4 teacher layers .* 3 student layers")):
        config = load(job(tmp_path, teacher={"model": teacher}, student={"model": student}))
        with pytest.raises(ConfigError, match=message):
            MetaKDPipeline(config, terminal=Terminal()).check()


def test_rows_that_do_not_fit_are_named(tmp_path: Path) -> None:
    model = save_model(tmp_path / "teacher", hidden=16)
    for part in SPLITS:
        write_rows(tmp_path / f"{part}.tsv", 30, seed=1)
    changes = {"teacher": {"model": model}, "student": {"model": model}}
    config = load(job(tmp_path, domains=["books", "dvd"], **changes))
    with pytest.raises(Exception, match=r"train.tsv:3: domain 'kitchen' is not one of books, dvd"):
        MetaKDPipeline(config, terminal=Terminal()).rows.tokenised("train", ("books",), model)


def test_the_command_line_says_what_would_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["run", job(tmp_path), "--dry-run"])
    assert result.exit_code == 0, result.output
    assert (
        "24 of small, intermediate then prediction layers: single_teacher, mixed_teacher, meta_teacher, meta_kd"
        in result.output
    )


@pytest.mark.parametrize(("mode", "epochs"), [("two_stages", 7), ("single", 2)])
def test_students_on_labels_alone_see_their_rows_as_often_as_distilled_ones(tmp_path: Path, mode: str, epochs: int) -> None:
    stages = {"intermediate": {"training": {"epochs": 2}}, "prediction": {"training": {"epochs": 5, "learning_rate": 1e-3}}}
    config = load(job(tmp_path, student={"model": "small", "mode": mode, **stages}))
    training = label_training(config)
    assert (training.epochs, training.learning_rate) == (epochs, 1e-3)
