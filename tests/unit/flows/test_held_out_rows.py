"""The rows of the report: held out of the training files, or those of the validation set where a job says so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from raykd.config import ExperimentConfig
from raykd.errors import DataError
from raykd.run.job_pipeline import run_pipeline
from tests.local_pipeline import LocalPipeline

Make = Callable[..., ExperimentConfig]


def test_a_fraction_of_the_training_rows_is_held_out_for_the_report(experiment: Make) -> None:
    config = experiment(data__test=0.2, data__validation=0.2)
    pipeline = LocalPipeline(config)
    names: dict[str, set[int]] = {}
    for split in ("train", "validation", "test"):
        rows = pipeline.tokenised(split, config.student.model)  # type: ignore[arg-type]  # the name of a split
        names[split] = {
            row for group in range(len(rows.group_rows)) for row in rows.read_group(group, ["row"])["row"].to_pylist()
        }
    assert set.union(*names.values()) == set(range(400))
    assert sum(map(len, names.values())) == 400
    assert all(40 < len(names[split]) < 120 for split in ("validation", "test"))


def test_too_few_held_out_rows_are_an_error_before_anything_is_trained(experiment: Make) -> None:
    pipeline = LocalPipeline(experiment(data__test=0.02))
    with pytest.raises(
        DataError, match=r"data\.test = 0\.02 holds \d+ rows of data\.train out, and a verdict needs 50 or more"
    ):
        run_pipeline(pipeline)
    assert pipeline.trained == []


def test_training_rows_of_one_class_are_an_error_before_anything_is_trained(experiment: Make, tmp_path: Path) -> None:
    data = experiment().data
    place = [column.split(":")[0] for column in data.input_schema.split(",")].index(data.label or "")
    rows = [line for path in data.train for line in Path(path).read_text().splitlines()]
    one_class = tmp_path / "one_class.tsv"
    one_class.write_text("".join(f"{row}\n" for row in rows if row.split("\t")[place] == "1"))
    pipeline = LocalPipeline(experiment(data__train=[str(one_class)]))
    with pytest.raises(DataError, match=r"all \d+ training rows have the label '1': a classifier needs rows of two classes"):
        run_pipeline(pipeline)
    assert pipeline.trained == []


def test_a_report_on_the_validation_set_says_so_everywhere(experiment: Make, local: Callable[..., LocalPipeline]) -> None:
    config = experiment(data__test="validation", student__seeds=[1], teacher__fine_tune=False)
    pipeline = local(config)
    comparison = pipeline.report()
    assert "rows of the validation set, which also selected the models" in comparison.verdict()
    folder = Path(pipeline.runner.folder)
    for file in ("report/report.md", "report/report.html", "students/kd-seed1/model/README.md"):
        text = (folder / file).read_text()
        assert "of the validation set, which also selected the models" in text
        assert "validation rows" in text
