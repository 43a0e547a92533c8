"""Errors of a user in a Meta-KD job: one sentence with the values at hand, exit code 2, before Ray starts."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from raykd import cli
from raykd.errors import DataError
from tests.easynlp_world import as_flags
from tests.local_pipeline import LocalMetaPipeline
from tests.unit.metakd.worlds import DOMAINS, job_content, save_model, write_rows

Refusal = Callable[..., str]


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refusal:
    """Runs ``raykd`` in this process, where Ray cannot start; what it says when it ends with code 2."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr("ray.init", lambda *_, **__: pytest.fail("Ray was started"))
        monkeypatch.setattr(sys, "argv", ["raykd", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capfd.readouterr().err
        assert stopped.value.code == 2, said
        assert "Traceback" not in said
        sentences = [line for line in said.splitlines() if line.startswith("raykd: ")]
        assert len(sentences) == 1, said
        return sentences[0]

    return run


def job(tmp_path: Path, *, name: str = "small", **changes: Any) -> str:
    """A job file on rows of three domains."""
    for part, count in {"train": 60, "validation": 30, "test": 30}.items():
        if not (tmp_path / f"{part}.tsv").exists():
            write_rows(tmp_path / f"{part}.tsv", count, seed=count)
    teacher = save_model(tmp_path / "teacher", hidden=16)
    content = job_content(tmp_path, teacher=teacher, student=save_model(tmp_path / "student", hidden=8, layers=1, heads=1))
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content | {"name": name} | changes))
    return str(path)


def test_a_row_whose_domain_is_not_in_the_list(tmp_path: Path, refusal: Refusal) -> None:
    said = refusal("run", job(tmp_path, domains=["books", "dvd"]))
    assert "train.tsv:3: domain 'kitchen' is not one of books, dvd" in said


def test_a_domain_without_rows(tmp_path: Path, refusal: Refusal) -> None:
    said = refusal("run", job(tmp_path, domains=[*DOMAINS, "toys"]))
    assert "domain 'toys' has no rows in" in said


def test_a_domain_with_one_class_only(tmp_path: Path, refusal: Refusal) -> None:
    train = write_rows(tmp_path / "train.tsv", 60, seed=1)
    kept = [line for line in train.read_text().splitlines() if not line.endswith("dvd\tnegative")]
    train.write_text("\n".join(kept) + "\n")
    said = refusal("run", job(tmp_path))
    assert "domain 'dvd' lacks a class: its training rows are {'negative': 0, 'positive': 10}" in said


def test_weights_made_from_other_rows(tmp_path: Path) -> None:
    from raykd.config import MetaKDConfig, load_job

    own = job(tmp_path)
    write_rows(tmp_path / "other" / "train.tsv", 90, seed=9)
    other = job(tmp_path / "other", name="other")
    for path in (own, other):
        config = load_job(path, ())
        assert isinstance(config, MetaKDConfig)
        LocalMetaPipeline(config).tables.weights(config.domains)
    table = Path("weights", "all")
    shutil.rmtree(tmp_path / "runs" / "small" / table)
    shutil.copytree(tmp_path / "other" / "runs" / "other" / table, tmp_path / "runs" / "small" / table)
    config = load_job(own, ())
    assert isinstance(config, MetaKDConfig)
    with pytest.raises(DataError, match="weights/all was made for other rows than"):
        LocalMetaPipeline(config, only=["teachers"]).run()


def test_layers_that_do_not_divide(tmp_path: Path, refusal: Refusal) -> None:
    deep = save_model(tmp_path / "deep", hidden=16, layers=3)
    student = save_model(tmp_path / "two", hidden=8, layers=2)
    said = refusal("run", job(tmp_path, teacher={"model": deep}, student={"model": student}))
    assert "3 teacher layers" in said
    assert "2 student layers" in said


def test_attention_heads_that_differ_under_compat(tmp_path: Path, refusal: Refusal) -> None:
    said = refusal("run", job(tmp_path, compat="easynlp"))
    assert "compares attention head by head, but the student has 1 heads and the teacher 2" in said


def test_an_encoder_of_the_weights_with_too_few_positions(tmp_path: Path, refusal: Refusal) -> None:
    short = save_model(tmp_path / "short", hidden=8, positions=16)
    said = refusal("run", job(tmp_path, weights={"encoder": short}))
    assert f"sequence_length 32 is over the 16 positions of {short}" in said


def test_an_encoder_of_the_weights_that_does_not_exist(tmp_path: Path, refusal: Refusal) -> None:
    assert str(tmp_path / "none") in refusal("run", job(tmp_path, weights={"encoder": str(tmp_path / "none")}))


def test_two_tokenizers_under_a_feature_loss(tmp_path: Path, refusal: Refusal) -> None:
    other = save_model(tmp_path / "other", hidden=8, layers=1, heads=1, extra=3)
    said = refusal("run", job(tmp_path, student={"model": other}))
    assert f"student.model = {other} have different tokenizers" in said


def test_a_genre_that_does_not_exist(tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["guid", "text_a", "text_b", "label", "domain", "weight"]
    row = ["1", "a plot", "None", "positive", "books", "0.5"]
    for part in ("train", "dev"):
        Path(f"{part}.tsv").write_text("\t".join(names) + "\n" + "\t".join(row) + "\n")
    teacher = save_model(tmp_path / "teacher", hidden=16)
    flags = as_flags(
        mode="train", tables="train.tsv,dev.tsv", input_schema=",".join(f"{name}:str:1" for name in names), label_name="label",
        first_sequence="text_a", second_sequence="text_b", label_enumerate_values="positive,negative", checkpoint_dir="model",
        sequence_length=32, user_defined_parameters=f"pretrain_model_name_or_path={teacher} domain_label=books,dvd genre=toys",
    )  # fmt: skip
    said = refusal("easynlp", "meta_teacher_train", *flags)
    assert "toys" in said
    assert "books" in said
