"""The rows of a Meta-KD run from raw reviews, with further test rows in place of the split's own."""

from pathlib import Path

import pytest

from raykd.config import MetaKDConfig
from raykd.errors import DataError
from tests.local_pipeline import LocalMetaPipeline
from tests.unit.metakd.worlds import save_model


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
