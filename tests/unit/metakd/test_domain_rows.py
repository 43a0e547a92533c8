"""The rows of a Meta-KD run: from raw reviews with further test rows, and from files of rows, split anew after a change."""

from pathlib import Path
from typing import Any

import pytest

from raykd.config import MetaKDConfig
from raykd.errors import DataError
from raykd.stage_names import SPLITS
from tests.local_pipeline import LocalMetaPipeline
from tests.unit.metakd.worlds import LABELS, job_content, save_model, write_rows


def make_config(tmp_path: Path, test: list[str] | None) -> MetaKDConfig:
    for domain in ("books", "dvd"):
        (tmp_path / "reviews" / domain).mkdir(parents=True)
        for sentiment in ("positive", "negative"):
            texts = [f"<review_text>\n{sentiment} {domain} {number}\n</review_text>\n" for number in range(40)]
            (tmp_path / "reviews" / domain / f"{sentiment}.review").write_text("".join(texts))
    model = save_model(tmp_path / "model", hidden=8, layers=1, heads=1)
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 5e-3}
    return MetaKDConfig.model_validate(
        {
            "kind": "meta_kd",
            "name": "small",
            "storage": str(tmp_path / "runs"),
            "reviews": {"folder": str(tmp_path / "reviews"), "test": test},
            "domains": ["books", "dvd"],
            "sequence_length": 32,
            "teacher": {"model": model, "training": training},
            "student": {"model": model} | {stage: {"training": training} for stage in ("intermediate", "prediction")},
        }
    )


def test_further_test_rows_replace_those_of_the_split(tmp_path: Path) -> None:
    for domain, count in {"books": 3, "dvd": 5}.items():
        (tmp_path / f"{domain}_test.tsv").write_text("".join(f"a text {row}\tpositive\n" for row in range(count)))
    config = make_config(tmp_path, [str(tmp_path / "*_test.tsv")])
    rows = LocalMetaPipeline(config).rows
    assert [rows.tokenised("test", (domain,), config.student.model).num_rows for domain in config.domains] == [3, 5]
    train = rows.tokenised("train", config.domains, config.student.model).num_rows
    validation = rows.tokenised("validation", config.domains, config.student.model).num_rows
    assert train + validation == 160 * 9 // 10, "the split's own test rows are left out"


def test_further_test_rows_of_other_domains_are_refused(tmp_path: Path) -> None:
    (tmp_path / "books_test.tsv").write_text("a text\tpositive\n")
    pipeline = LocalMetaPipeline(make_config(tmp_path, [str(tmp_path / "*_test.tsv")]))
    with pytest.raises(DataError, match=r"reviews\.test has files of the domains books; domains = \['books', 'dvd'\]"):
        pipeline.check()
    assert not list((tmp_path / "runs").rglob("stage.json"))


def file_config(tmp_path: Path, **changes: Any) -> MetaKDConfig:
    """A job on files of three domains, which exist already where a test has written them."""
    for split in SPLITS:
        if not (tmp_path / f"{split}.tsv").exists():
            write_rows(tmp_path / f"{split}.tsv", 30, seed=1)
    model = save_model(tmp_path / "model", hidden=8, layers=1, heads=1)
    content = job_content(tmp_path, teacher=model, student=model)
    content["data"] |= changes.pop("data", {})
    return MetaKDConfig.model_validate(content | changes)


def split_files(tmp_path: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (tmp_path / "runs" / "small" / "split").rglob("*.tsv")}


def test_changed_labels_split_the_rows_anew(tmp_path: Path) -> None:
    LocalMetaPipeline(file_config(tmp_path)).rows.split()
    before = split_files(tmp_path)
    assert before
    LocalMetaPipeline(file_config(tmp_path, labels=LABELS[::-1])).rows.check_classes()
    assert split_files(tmp_path) == before, "the same rows, so that the same batches follow"
    with pytest.raises(DataError, match=rf"^{tmp_path}/train\.tsv:1: label 'negative' is not one of 'positive', 'neg'"):
        LocalMetaPipeline(file_config(tmp_path, labels=("positive", "neg"))).rows.check_classes()


def test_other_labels_than_those_of_reviews_name_the_file(tmp_path: Path) -> None:
    config = make_config(tmp_path, None).model_copy(update={"labels": ("neg", "positive")})
    with pytest.raises(DataError, match=r"train/books\.tsv:\d+: label 'negative' is not one of"):
        LocalMetaPipeline(config).rows.check_classes()


def test_a_header_that_is_skipped_is_checked_where_the_split_is_finished(tmp_path: Path) -> None:
    for split in SPLITS:
        path = write_rows(tmp_path / f"{split}.tsv", 30, seed=1)
        path.write_text("text\tdomain\tlabel\n" + path.read_text())
    config = file_config(tmp_path, data={"skip_header": True})
    LocalMetaPipeline(config).rows.split()
    path.write_text(path.read_text().replace("text\tdomain\tlabel", "text\tlabel\tdomain"))
    with pytest.raises(DataError, match=r"test\.tsv:1: 'domain' is column 3 of the header, but column 2"):
        LocalMetaPipeline(config).rows.split()


def test_the_only_row_of_a_domain_may_hold_a_carriage_return(tmp_path: Path) -> None:
    lines = write_rows(tmp_path / "test.tsv", 30, seed=1).read_bytes().splitlines(keepends=True)
    others, own = ([line for line in lines if (b"\tdvd\t" in line) == is_dvd] for is_dvd in (False, True))
    (tmp_path / "test.tsv").write_bytes(b"".join([*others, b"a\r" + own[0]]))
    config = file_config(tmp_path)
    assert LocalMetaPipeline(config).rows.tokenised("test", ("dvd",), config.student.model).num_rows == 1


def test_a_row_that_a_model_cannot_read_is_named_in_the_files_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object, text: str) -> None:
        if "sad" in text:
            raise DataError("the text spells a special token")

    monkeypatch.setattr("raykd.data.tokenizer.RowTokenizer.check", refuse)
    config = file_config(tmp_path)
    lines = (tmp_path / "train.tsv").read_text().splitlines()
    line = next(number for number, row in enumerate(lines, 1) if "sad" in row and "\tdvd\t" in row)
    rows = LocalMetaPipeline(config).rows
    with pytest.raises(DataError) as caught:
        rows.tokenised("train", ("dvd",), config.student.model)
    expected = f"{tmp_path}/train.tsv:{line}: the text spells a special token; correct the row, or remove it"
    assert str(caught.value) == expected, "data.max_rejected_rows is no setting of such a job"
