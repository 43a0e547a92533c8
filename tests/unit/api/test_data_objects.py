"""Jobs whose rows are Python objects."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from raykd.api.data_objects import with_data
from raykd.config import ExperimentConfig, MetaKDConfig, TuneConfig
from raykd.config.load import build_job
from raykd.config.load_tune import build_tune
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import spec_from_config
from raykd.errors import ConfigError, DataError
from raykd.stage_names import SPLITS
from raykd.task_kinds import label_codec
from tests.unit.metakd.worlds import job_content

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


def meta_kd(tmp_path: Path) -> dict[str, Any]:
    """A job across domains without files."""
    given = job_content(tmp_path, teacher="teacher", student="student")
    given["data"] = {"first_sequence": "text", "label": "label", "domain": "kind"}
    return given


def test_rows_of_several_domains_keep_the_column_of_their_domain(tmp_path: Path) -> None:
    rows = FRAME.assign(kind=["books", "dvd", "dvd"], other=1)
    config = with_data(meta_kd(tmp_path), dict.fromkeys(SPLITS, rows), lambda given: build_job(given, source="the job"))
    assert isinstance(config, MetaKDConfig)
    assert config.data is not None
    assert list(pd.read_parquet(config.data.train[0])) == ["text", "label", "kind"]


def test_errors_of_rows_of_several_domains_name_what_meta_kd_has(tmp_path: Path) -> None:
    rows = FRAME.assign(kind=["books", None, "dvd"])

    def given(**more: pd.DataFrame) -> Any:
        objects = dict.fromkeys(SPLITS, rows) | more
        return with_data(meta_kd(tmp_path), objects, lambda content: build_job(content, source="the job"))

    with pytest.raises(DataError, match=r"row 1 \(from 0\): column 'kind' is missing \(null\); remove the row$"):
        given()
    with pytest.raises(DataError, match=r"there is no column 'kind', but text, label"):
        given(train=FRAME)
    with pytest.raises(
        ConfigError, match=r"data has the key 'unlabelled', but every row of a Meta-KD job has a label; give train"
    ):
        given(unlabelled=rows)


def test_a_job_on_raw_reviews_takes_no_objects(tmp_path: Path) -> None:
    job = {name: value for name, value in meta_kd(tmp_path).items() if name != "data"} | {"reviews": {"folder": "reviews"}}
    with pytest.raises(
        ConfigError, match=r"data has objects for train, .*but the job reads raw reviews .*; leave data out, or"
    ):
        with_data(job, dict.fromkeys(SPLITS, FRAME), lambda given: build_job(given, source="the job"))
