"""Jobs whose rows are Python objects."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from raykd.api.data_objects import with_data
from raykd.config import ExperimentConfig, TuneConfig
from raykd.config.load import build_job
from raykd.config.load_tune import build_tune
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import spec_from_config
from raykd.errors import ConfigError, DataError
from raykd.task_kinds import label_codec

FRAME = pd.DataFrame({"text": ["good plot", "bad end", "fine film"], "label": ["1", "0", "1"]})
MANY = pd.DataFrame({"text": [f"plot {number}" for number in range(40)], "label": ["0", "1"] * 20})


@pytest.fixture
def content(experiment: Callable[..., ExperimentConfig]) -> dict[str, Any]:
    """The small job without files."""
    given = experiment().model_dump(mode="json")
    for name in ("train", "test", "input_schema"):
        del given["data"][name]
    return given


def build(content: Any) -> ExperimentConfig:
    config = build_job(content, source="the job")
    assert isinstance(config, ExperimentConfig)
    return config


def test_rows_become_files_of_the_job(content: dict[str, Any], tmp_path: Path) -> None:
    config = with_data(content, {"train": FRAME, "test": pa.Table.from_pandas(FRAME[:2]), "unlabelled": FRAME[["text"]]}, build)
    files = [config.data.train[0], config.data.test[0], config.data.unlabelled[0]]  # type: ignore[index]  # the job has these files
    assert all(Path(file).parent == tmp_path / "runs/cache/objects" for file in files)
    assert len(set(files)) == 3
    assert pd.read_parquet(files[0]).equals(FRAME)
    assert list(pd.read_parquet(files[2])) == ["text"]


def test_equal_rows_are_one_file_and_one_tokenised_set(
    content: dict[str, Any], small_world: dict[str, str], tmp_path: Path
) -> None:
    first, second = (with_data(content, {"train": rows}, build) for rows in (MANY, pa.Table.from_pandas(MANY)))
    assert first == second
    assert len(list((tmp_path / "runs/cache/objects").iterdir())) == 1
    data = first.data.model_copy(update={"validation": 0.5})
    spec = spec_from_config(data, "train", small_world["student"], label_codec(data))
    assert prepare(spec, str(tmp_path / "cache")).sources[0].path == first.data.train[0]


def test_settings_of_the_files_that_are_replaced_are_dropped(content: dict[str, Any]) -> None:
    content["data"] |= {"train": ["a.tsv"], "input_schema": "label:str:1,text:str:1", "format": "tsv", "skip_header": True}
    config = with_data(content, {"train": FRAME}, build)
    assert (config.data.input_schema, config.data.format, config.data.skip_header) == (None, None, False)


def test_rows_of_a_search_are_those_of_its_base(content: dict[str, Any]) -> None:
    config = with_data(
        content,
        {"train": FRAME, "test": FRAME},
        lambda base: build_tune({"kind": "tune", "name": "s", "trials": 2, "base": base}, source="the job"),
    )
    assert isinstance(config, TuneConfig)
    assert isinstance(config.base, ExperimentConfig)
    assert Path(config.base.data.train[0]).is_file()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([FRAME], "data is of type list; give a mapping of train, validation, test, unlabelled"),
        ({"valid": FRAME}, "data has the key 'valid'; .*did you mean validation"),
        ({"train": FRAME, "test": FRAME.rename(columns={"label": "labels"})}, r"data\['test'\]: .*did you mean labels"),
        ({"train": FRAME[:0]}, r"data\['train'\] has no rows"),
        ({"train": FRAME, "validation": 0.1}, r"data\['validation'\] is of type float"),
    ],
)
def test_wrong_data_is_one_sentence(content: dict[str, Any], data: Any, message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        with_data(content, data, build)


def test_an_error_of_the_job_is_found_before_anything_is_written(content: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key data\.lable; did you mean label"):
        with_data({**content, "data": {**content["data"], "lable": "x"}}, {"train": FRAME}, build)
    assert not (tmp_path / "runs").exists()


def test_files_that_need_settings_do_not_mix_with_objects(content: dict[str, Any]) -> None:
    content["data"] |= {"validation": ["a.tsv"], "input_schema": "text:str:1,label:str:1"}
    with pytest.raises(ConfigError, match=r"give validation as an object too, or leave data\.input_schema out"):
        with_data(content, {"train": FRAME}, build)


def test_meta_kd_reads_its_own_files() -> None:
    with pytest.raises(ConfigError, match="a meta_kd job reads TSV files"):
        with_data({"kind": "meta_kd"}, {"train": FRAME}, build)
