"""YAML of job files and overrides: no key twice, no value changed by YAML 1.1."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from raykd.config import ExperimentConfig, build, load, merge, parse_override
from raykd.config.yaml_reader import parse_yaml
from raykd.errors import ConfigError
from tests.unit.config.sections import minimal


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("student:\n  model: a\nname: x\nstudent:\n  model: b\n", "the key student stands on line 1 and again on line 4"),
        ("a:\n  b:\n    c: 1\n    d: 2\n    c: 1\n", "the key c stands on line 3 and again on line 5"),
        ("a:\n- x: 1\n  x: 2\n", "the key x stands on line 2 and again on line 3"),
        ("a: {x: 1, y: 2, x: 3}\n", "the key x stands twice on line 1"),
        ('a: 1\n"a": 2\n', "the key a stands on line 1 and again on line 2"),
        ("b: &b {x: 1}\na:\n  <<: *b\n  <<: *b\n", "the key << stands on line 3 and again on line 4"),
    ],
)
def test_a_key_that_stands_twice_is_an_error_with_both_lines(content: str, lines: str, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "job.yaml")
    assert lines in str(caught.value)


def test_a_key_that_stands_twice_in_an_override_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"override 'a=\{x: 1, x: 2\}': the key x stands twice on line 1"):
        parse_override("a={x: 1, x: 2}")


def test_merged_keys_may_be_replaced() -> None:
    text = "base: &base {x: 1, y: 2}\none: &one\n  <<: *base\n  x: 3\ntwo:\n  <<: *one\n  y: 4\n"
    content = parse_yaml(text)
    assert (content["one"], content["two"]) == ({"x": 3, "y": 2}, {"x": 3, "y": 4})
    outer = parse_yaml("base: &base {x: 1}\ninner: &inner {<<: *base, x: 2}\n<<: *inner\n")
    assert (outer["x"], outer["inner"]) == (2, {"x": 2})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("true", True), ("False", False), ("~", None), ("", None), ("null", None),
        ("010", 10), ("0o17", 15), ("0x1F", 31), ("1_000", "1_000"), ("12:30:00", "12:30:00"), ("2024-01-01", "2024-01-01"),
        ("1e-4", 1e-4), ("1E5", 1e5), ("5e3", 5e3), (".5", 0.5), ("1.", 1.0), ("-3", -3), ("+1", 1), ("=", "="), ("0b1", "0b1"),
        ("1e", "1e"), ("-", "-"), (".", "."), ("0", 0), ("08", 8), ("'1'", "1"), ("1.10", 1.1),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    if text == "-":
        text = "'-'"
    found = parse_yaml(f"[{text}]" if text else "[null]")[0]
    assert found == value
    assert isinstance(found, type(value))


def test_text_that_looks_like_something_else_stays_as_it_is_written() -> None:
    written = ["no", "010", "1.10", "1e5", "12:30", "0x1F", "2024-01-01", "+1", "1_000", "off", "=", "1.0", "7"]
    config = build(merge(minimal(), [parse_override(f"data.labels=[{', '.join(written)}]"), parse_override("name=007")]))
    assert config.data.labels == tuple(written)
    assert config.name == "007"
    assert ExperimentConfig.model_validate_json(config.model_dump_json()) == config


def test_numbers_and_truth_values_are_read_where_they_are_meant() -> None:
    overrides = ["student.training.learning_rate=1e-4", "teacher.fine_tune=no", "student.seeds=[010]", "data.skip_header=on"]
    config = build(merge(minimal(), map(parse_override, overrides)))
    assert config.student.training.learning_rate == 1e-4
    assert type(config.student.training.learning_rate) is float
    assert (config.teacher.fine_tune, config.student.seeds, config.data.skip_header) == (False, (10,), True)


def test_a_key_is_text() -> None:
    assert parse_yaml("on: 1\n1: 2\nnull: 3\n") == {"on": 1, "1": 2, "null": 3}
    with pytest.raises(yaml.YAMLError, match="on line 1 a key is a list or a mapping"):
        parse_yaml("{[a]: 1}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!!int x", "on line 2 'x' has the tag !!int, but is not a whole number; leave the tag out"),
        ("!!float '1:2'", "on line 2 '1:2' has the tag !!float, but is not a number"),
        ("!!bool 3", "on line 2 '3' has the tag !!bool, but is not true or false"),
        ("!!null x", "on line 2 'x' has the tag !!null, but is not null"),
        ("!!timestamp x", "on line 2 a value has the tag !!timestamp; leave the tag out"),
        ("!!timestamp 2001-01-01", "a value has the tag !!timestamp"),
        ("!!set {x}", "a value has the tag !!set"),
        ("!!binary aaa", "a value has the tag !!binary"),
        ("!!python/object/apply:os.system ['id']", "a value has the tag !!python/object/apply:os.system"),
        ("!own x", "a value has the tag !own"),
        ("1" * 5000, "on line 2 a number has 5,000 digits; give one of at most 4,000, or quote it if it is text"),
        ("0x" + "f" * 5000, "on line 2 a number has 5,002 digits"),
    ],
)
def test_values_that_no_job_has_are_refused(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(f"a: 1\nname: {text}\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "job.yaml")
    assert expected in str(caught.value)


def test_tags_that_say_what_a_value_is_are_allowed() -> None:
    text = "[!!int 3, !!float 3, !!bool true, !!null '', !!str 3, !!seq [1], !!map {a: 1}]"
    assert parse_yaml(text) == [3, 3.0, True, None, "3", [1], {"a": 1}]


def test_half_a_character_is_refused() -> None:
    with pytest.raises(yaml.YAMLError, match="on line 2 an escaped character is half of a pair"):
        parse_yaml('a: 1\nb: "\\ud800"\n')


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=80), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)  # a key has at most 1,024 characters in YAML; json writes up to 12 for one of them
def test_what_json_writes_is_read_back(value: Any) -> None:
    assert parse_yaml(json.dumps(value)) == value


@given(st.text(alphabet="0123456789+-.eExXob_:naftyu~ ", max_size=8))
def test_a_label_is_its_own_spelling_or_refused(text: str) -> None:
    try:
        value = parse_yaml(f"k: {text}")
    except yaml.YAMLError:
        return
    if isinstance(value, dict) and isinstance(value.get("k"), int | float) and not isinstance(value["k"], bool):
        assert str(value["k"]) == text.strip()
