"""Labels of a job that lists none: found before anything starts, shown, stored, and the same for every stage."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from raykd.config import ExperimentConfig
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import spec_from_config
from raykd.distill.job_labels import class_lines, with_found_labels
from raykd.errors import DataError
from raykd.run.task import cache_folder
from raykd.task_kinds import label_codec
from tests.local_pipeline import LocalPipeline

Make = Callable[..., ExperimentConfig]
UNNAMED = {"data__input_schema": None, "data__labels": None}
"""Neither the columns nor the labels are listed."""


def write(path: Path, labels: str) -> list[str]:
    """A CSV file with one row for each character of ``labels``."""
    path.write_text("text,label\n" + "".join(f"good film {number},{label}\n" for number, label in enumerate(labels)))
    return [str(path)]


def lines_of(config: ExperimentConfig) -> list[str]:
    """The lines about the classes of the training rows."""
    config, counts = with_found_labels(config)
    spec = spec_from_config(config.data, "train", config.student.model, label_codec(config.data))
    return class_lines(prepare(spec, cache_folder(config)), config, found=bool(counts))


def test_found_labels_are_shown_and_stored(experiment: Make, local: Callable[..., LocalPipeline], tmp_path: Path) -> None:
    files = write(tmp_path / "rows.csv", "10" * 40 + "1" * 20)
    changes = {"data__train": files, "data__validation": files, "data__test": "validation"}
    config = experiment(**changes, **UNNAMED)
    assert config.data.labels is None
    pipeline = local(config)
    assert pipeline.runner.said[0] == "labels, with their rows in data.train: 0 40, 1 60"
    stored = json.loads(Path(tmp_path, "runs", "small", "experiment.json").read_text())
    assert stored["data"]["labels"] == ["0", "1"]
    pipeline.tokenise_all()
    assert pipeline.tokenised("train", config.student.model).labels == ("0", "1")
    assert "training rows by class: 0 40, 1 60" in pipeline.runner.said
    assert not [line for line in pipeline.runner.said if "accuracy hides" in line]


def test_the_classes_of_a_label_budget_are_counted(
    experiment: Make, local: Callable[..., LocalPipeline], tmp_path: Path
) -> None:
    files = write(tmp_path / "rows.csv", "10" * 40 + "1" * 20)
    changes = {"data__train": files, "data__test": "validation", "data__label_budget": 20}
    pipeline = local(experiment(**changes, **UNNAMED))
    pipeline.tokenise_all()
    assert "labels, with their rows in data.train: 0 40, 1 60" in pipeline.runner.said
    (line,) = [line for line in pipeline.runner.said if line.startswith("training rows by class: ")]
    assert sum(int(count) for count in re.findall(r"[01] (\d+)", line)) == 20


def test_labels_that_a_job_lists_are_left_alone(experiment: Make) -> None:
    config = experiment(data__labels=["1", "0"])
    assert with_found_labels(config) == (config, {})


def test_found_labels_have_to_fit_the_other_settings(experiment: Make, tmp_path: Path) -> None:
    changes = {**UNNAMED, "data__test": "validation", "data__validation": 0.3}
    with pytest.raises(DataError, match=r"data\.train has one label alone in column 'label': a 3"):
        with_found_labels(experiment(data__train=write(tmp_path / "one.csv", "aaa"), **changes))
    files = write(tmp_path / "two.csv", "ab")
    with pytest.raises(DataError, match=r"positive_label = 'c' is not one of data\.labels"):
        with_found_labels(experiment(data__train=files, data__positive_label="c", **changes))


def test_a_class_of_held_out_rows_alone_is_refused(experiment: Make, tmp_path: Path) -> None:
    changes = {**UNNAMED, "data__test": "validation", "data__validation": 0.5}
    rows = "ab" * 20
    for position in range(40):
        files = write(tmp_path / "rows.csv", rows[:position] + "c" + rows[position + 1 :])
        try:
            lines_of(experiment(data__train=files, **changes))
        except DataError as error:
            assert "only rows held out for validation or test have the label 'c'" in str(error)  # noqa: PT017
            return
    pytest.fail("one of the rows is held out")


def test_a_strong_imbalance_is_a_warning(experiment: Make, tmp_path: Path) -> None:
    files = write(tmp_path / "rows.csv", "a" * 50 + "b" * 5)
    changes = {"data__train": files, "data__validation": files, "data__test": "validation", **UNNAMED}
    counts, warning = lines_of(experiment(**changes))
    assert counts == "training rows by class: a 50, b 5"
    assert warning.startswith("warning: class a has 50 training rows and class b 5: accuracy hides how rare classes fare")
    assert "class_weights: balanced" in warning
    _, warning = lines_of(experiment(**changes, student__training__class_weights="balanced"))
    assert "class_weights" not in warning
