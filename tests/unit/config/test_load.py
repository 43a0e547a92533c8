"""The configuration: what is refused, and in what words."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from raykd.config import (
    DeepSpeedEngineConfig,
    ExperimentConfig,
    MetaKDConfig,
    TuneConfig,
    VanillaKDConfig,
    build,
    is_search,
    load,
    load_job,
    load_tune,
    merge,
    parse_override,
)
from raykd.config.load import parse_overrides, with_overrides
from raykd.errors import ConfigError
from tests.unit.config.sections import minimal, sections_of

JOBS = sorted((Path(__file__).parents[3] / "jobs").glob("*.yaml"))


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_every_job_file_is_valid(path: Path) -> None:
    assert (load_tune(path) if is_search(path) else load_job(path)).name


def test_a_number_of_workers_may_be_a_range() -> None:
    fixed, elastic = (build(minimal(compute__num_workers=value)).compute for value in (3, [2, 5]))
    assert (fixed.elastic, fixed.min_workers, fixed.max_workers, fixed.workers_text) == (False, 3, 3, "3")
    assert (elastic.elastic, elastic.min_workers, elastic.max_workers, elastic.workers_text) == (True, 2, 5, "2 to 5")
    for wrong in ([5, 2], [0, 2], [1, 2, 3], 0):
        with pytest.raises(ConfigError, match="num_workers"):
            build(minimal(compute__num_workers=wrong))


def test_resolved_json_reads_back_as_the_same_object() -> None:
    config = build(minimal(student__objective={"kind": "vanilla_kd", "temperature": 3}))
    assert ExperimentConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"studnt": {}}, "unknown key studnt; did you mean student?"),
        ({"student__objective": {"kind": "vanilla_kd", "temprature": 2}}, "did you mean temperature?"),
        ({"compute__engine": {"kind": "deepspeed", "zero": 1}}, "did you mean zero_stage?"),
        (
            {"compute__engine": {"kind": "deepspeed", "zero_stage": 1, "offload_optimizer": True}},
            "offload_optimizer = true with zero_stage = 1; set zero_stage to 2",
        ),
        ({"compute__threads": 3, "compute__cpus_per_worker": 2}, "threads = 3 is over cpus_per_worker = 2"),
        (
            {"compute__compile": True, "compute__engine": {"kind": "deepspeed", "zero_stage": 3}},
            "compile = true with zero_stage = 3, which gathers weights",
        ),
        ({"compute__compile": True, "compute__attention": "unpadded"}, "set attention to padded, or compile to false"),
        (
            {"compute__engine": {"kind": "deepspeed", "zero_stage": 3}, "compute__attention": "unpadded"},
            "set attention to padded, or zero_stage to 2 or less",
        ),
        ({"teacher__training__lr": 1}, "unknown key teacher.training.lr"),
        ({"student__objective": {"kind": "vanilla_kd", "alpha": 1.5}}, "student.objective.alpha = 1.5: input should be less"),
        ({"student__objective": {"kind": "vanilla_kd", "temperature": 0}}, "temperature = 0"),
        ({"student__objective": {"kind": "vanila"}}, "vanilla_kd"),
        ({"data__label": "lable"}, "data.label = 'lable' is not a column of data.input_schema (text, label)"),
        ({"data__input_schema": "text,label"}, "data.input_schema 'text,label': 'text' is not of the form name:type:length"),
        ({"data__input_schema": "text:str:1,text:str:1"}, "names column 'text' twice"),
        ({"data__format": "excel"}, "data.format = 'excel': input should be 'tsv', 'csv', 'jsonl', 'parquet' or 'arrow'"),
        ({"data__labels": ["1", "1"]}, "data.labels lists '1' twice"),
        ({"data__labels": ["1"]}, "at least two labels"),
        ({"data__train": []}, "data.train names no files"),
        ({"data__validation": 1.5}, "data.validation = 1.5: give a list of paths"),
        ({"data__task": ["single_label"]}, "data.task = ['single_label']: input should be 'single_label', 'multi_label' or"),
        ({"data__input_schema": f"text:str:{'9' * 5000}"}, "is not of the form name:type:length"),
        ({"storage": ""}, "storage: a path is empty; give the path of a file or a folder"),
        ({"data__train": ["a\0b"]}, "data.train.0: a path has a NUL character"),
        ({"student__seeds": []}, "give at least one seed"),
        ({"teacher": None}, "there is neither a teacher nor logits.file"),
        ({"name": "../x"}, "use letters, digits"),
        ({"teacher__model": " "}, "model is empty"),
        ({"data__label": None}, "data.label is not set, but teacher.fine_tune = true needs labels"),
        ({"data__labels": [False, True]}, "data.labels.0 = False: text is needed here; put it in quotes"),
        ({"data__train": "a.tsv"}, "data.train = 'a.tsv': a list is needed here, as in [a, b]"),
        ({"data": None}, "data = None: a section is needed here"),
        (
            {"student__objective": {"kind": "mse_kd", "temperature": 2}},
            "unknown key student.objective.temperature; it belongs to kind: vanilla_kd, decoupled_kd, dist_kd",
        ),
        (
            {
                "student__training__class_weights": "balanced",
                "data__task": "regression",
                "student__objective": {"kind": "mse_kd"},
            },
            "student.training.class_weights = balanced needs rows with one class each",
        ),
        (
            {"student__training__class_weights": "balanced", "student__objective": {"kind": "custom", "target": "a:B"}},
            "computes its own; weigh the rows there",
        ),
        ({"student__training__max_steps": "1e3"}, "max_steps = '1e3': a whole number is needed here"),
    ],
)
def test_wrong_values_are_named_with_what_is_allowed(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(minimal(**changes))
    assert expected in str(caught.value)


def test_a_list_with_something_wrong_in_it_is_not_also_said_to_be_no_text() -> None:
    with pytest.raises(ConfigError) as caught:
        build(minimal(data__labels=["0", None]))
    assert "data.labels" in str(caught.value)
    assert "data.labels.str" not in str(caught.value)


def test_an_input_schema_may_have_spaces() -> None:
    config = build(minimal(data__input_schema=" id:str:1, text:str:1 , label:str:1", logits__file="a.jsonl", logits__key="id"))
    assert config.data.columns == ("id", "text", "label")


def test_numbers_are_text_where_text_is_meant_and_text_is_never_a_number() -> None:
    """Labels are often written [0, 1]; a label or a name that looks like a number stays as it is."""
    assert build(minimal(data__labels=[0, 1])).data.labels == ("0", "1")
    config = build(minimal(name="1e3", data__labels=["1e5", "2e5"], student__training__learning_rate="5e-4"))
    assert (config.name, config.data.labels) == ("1e3", ("1e5", "2e5"))
    assert config.student.training.learning_rate == 5e-4, "as YAML 1.1 hands it over"


def test_unlabelled_rows_are_fine_with_alpha_one() -> None:
    objective = {"kind": "vanilla_kd", "alpha": 1.0}
    changes = {
        "data__label": None,
        "teacher__fine_tune": False,
        "student__variants": {"kd": {}},
        "student__objective": objective,
    }
    assert build(minimal(**changes)).data.label is None


def test_overrides_replace_values_and_make_sections() -> None:
    overrides = ["student.objective.temperature=4", "student.training.learning_rate=5e-4", "data.train=[a.tsv, b.tsv]"]
    base = minimal(student__objective={"kind": "vanilla_kd"})
    config = build(merge(base, map(parse_override, overrides)))
    assert (config.student.objective.temperature, config.student.training.learning_rate) == (4.0, 5e-4)  # type: ignore[union-attr]  # the objective of this job has one
    assert config.data.train == ("a.tsv", "b.tsv")


def test_the_kind_of_a_default_stands_where_only_values_are_given() -> None:
    overrides = ["student.objective.alpha=0.3", "compute.engine.zero_stage=3"]
    config = build(merge(minimal(), map(parse_override, overrides)))
    assert config.student.objective == VanillaKDConfig(alpha=0.3)
    assert config.compute.engine == DeepSpeedEngineConfig(zero_stage=3)


@pytest.mark.parametrize("job", [ExperimentConfig, MetaKDConfig, TuneConfig])
def test_every_section_of_several_kinds_has_its_default_kind_filled_in(job: type[BaseModel]) -> None:
    """Each such field of each job accepts an empty section, which then is the default."""
    found = 0
    for section in sections_of(job):
        for name, field in section.model_fields.items():
            if field.discriminator is not None and isinstance(field.default, BaseModel):
                found += 1
                assert section._keep_default_kind({name: {}})[name] == {"kind": field.default.kind}
    assert found


@pytest.mark.parametrize(
    ("texts", "warned"),
    [
        (["seed=1", "seed=2"], "--set seed=1 is replaced by --set seed=2"),
        (["student.objective.alpha=0.3", "student.objective={kind: mse_kd}"], "is replaced by --set student.objective="),
        (["seed=1", "seed=1"], ""),
        (["student.objective={kind: mse_kd}", "student.objective.alpha=0.3"], ""),
    ],
)
def test_an_override_that_a_later_one_replaces_is_warned_of(
    texts: list[str], warned: str, caplog: pytest.LogCaptureFixture
) -> None:
    parse_overrides(texts)
    assert warned in caplog.text
    assert bool(warned) == bool(caplog.records)


@pytest.mark.parametrize(
    "text", ["a.b", "=3", "a..b=3", "a.b=[1", "a=&x [*x]", "a=!!int x", "a=!!timestamp x", f"a={'1' * 5000}"]
)
def test_malformed_overrides_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="override") as caught:
        parse_override(text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("variants", [[{"a": 1}], 5, "abc"])
def test_an_override_of_a_variant_needs_a_section_of_variants(variants: Any) -> None:
    with pytest.raises(ConfigError, match=r"student\.variants is a value, not a section; student\.variants\.kd\.model cannot"):
        with_overrides(minimal(student__variants=variants), [(("student", "variants", "kd", "model"), "x")])


def test_an_override_below_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="name is a value, not a section"):
        merge(minimal(), [(("name", "x"), 1)])


@pytest.mark.parametrize(
    "content",
    ["", "- a\n- b\n", "a: [", "\xff", "2024-01-01: a date\n", "a: &x [*x]\n", "[" * 3000],
    ids=["empty", "list", "cut", "binary", "date key", "circle", "depth"],
)
def test_files_that_are_no_mapping_are_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"job\.yaml"):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the job file"):
        load(tmp_path / "absent.yaml")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_nothing_but_a_config_error_comes_out_of_arbitrary_content(content: Any) -> None:
    with pytest.raises(ConfigError):
        build({"data": content} if not isinstance(content, dict) else content)
