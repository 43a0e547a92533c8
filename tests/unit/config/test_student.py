"""Student variants: what they inherit and replace, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.config import ExperimentConfig, FineTuneConfig, TuneConfig, VanillaKDConfig, build, load_job
from raykd.config.features import IntermediateConfig
from raykd.config.load_tune import build_tune
from raykd.config.paths import local_paths
from raykd.errors import ConfigError
from tests.unit.config.sections import minimal

RELATION = {"layers": "last", "relation_weight": 1.0, "hidden_weight": 0, "embedding_weight": 0, "attention_weight": 0}


def students(**changes: Any) -> ExperimentConfig:
    return build(minimal(**{f"student__{key}": value for key, value in changes.items()}))


def test_the_default_is_a_student_on_labels_and_the_section_itself() -> None:
    config = students(objective={"kind": "vanilla_kd", "alpha": 0.3}, intermediate={})
    no_kd, kd = config.student_variants
    assert (no_kd.name, no_kd.rows, no_kd.student.objective, no_kd.student.intermediate) == (
        "no_kd", "labelled", FineTuneConfig(), None,
    )  # fmt: skip
    assert (kd.name, kd.rows, kd.augment, kd.student.objective) == ("kd", "all", False, VanillaKDConfig(alpha=0.3))
    assert kd.student.intermediate == IntermediateConfig()


def test_without_a_kind_that_distils_there_is_one_student() -> None:
    (only,) = students(objective={"kind": "fine_tune"}).student_variants
    assert (only.name, only.rows) == ("no_kd", "labelled")


def test_keys_are_merged_and_a_section_of_another_kind_is_replaced() -> None:
    variants = {
        "no_kd": {"objective": {"kind": "fine_tune"}},
        "hot": {"objective": {"temperature": 8}, "rows": "labelled"},
        "mse": {"objective": {"kind": "mse_kd"}},
        "relation": {"intermediate": RELATION, "training": {"epochs": 9}},
    }
    config = students(objective={"kind": "vanilla_kd", "alpha": 0.9}, training={"learning_rate": 1e-3}, variants=variants)
    no_kd, hot, mse, relation = config.student_variants
    assert no_kd.student.objective == FineTuneConfig()
    assert hot.student.objective == VanillaKDConfig(alpha=0.9, temperature=8)
    assert (hot.rows, hot.augment) == ("labelled", False)
    assert mse.student.objective.kind == "mse_kd"
    assert mse.student.objective.alpha == 0.5, "the section's alpha belongs to another kind"
    assert (relation.student.training.epochs, relation.student.training.learning_rate) == (9, 1e-3)
    assert (relation.own_length, hot.own_length) == (True, False)
    assert (hot.key("objective"), hot.key("training.metric")) == ("student.variants.hot.objective", "student.training.metric")


def test_values_of_the_section_reach_variants_that_do_not_set_them() -> None:
    config = students(variants={"a": {"objective": {"alpha": 0.1}}, "b": {}})
    warm = config.model_copy(
        update={"student": config.student.model_copy(update={"objective": VanillaKDConfig(alpha=0.7, temperature=5)})}
    )
    assert [one.student.objective for one in warm.student_variants] == [
        VanillaKDConfig(alpha=0.1, temperature=5), VanillaKDConfig(alpha=0.7, temperature=5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"variants": {"a": {"objectve": {}}}}, "unknown key student.variants.a.objectve; did you mean objective?"),
        (
            {"variants": {"a": {"objective": {"temprature": 2}}}},
            "unknown key student.variants.a.objective.temprature; did you mean temperature?",
        ),
        (
            {"variants": {"a": {"training": {"epoch": 2}}}},
            "unknown key student.variants.a.training.epoch; did you mean epochs?",
        ),
        ({"variants": {"a": {"seeds": [1]}}}, "unknown key student.variants.a.seeds"),
        ({"variants": {"a": {"training": {"epochs": 0}}}}, "student.variants.a.training.epochs = 0: input should be greater"),
        ({"variants": {"a": {"rows": "none"}}}, "student.variants.a.rows = 'none': input should be 'labelled' or 'all'"),
        (
            {"variants": {"a": {"intermediate": {**RELATION, "relation_weight": 0}}}},
            "student.variants.a.intermediate: every weight is 0",
        ),
        ({"variants": {"a": None}}, "student.variants.a = None: a section is needed here"),
        ({"variants": {}}, "student.variants is empty"),
        ({"variants": {"a b": {}}}, "the name 'a b': use letters, digits"),
        ({"variants": {"no_kd": {}, "kd": {}}, "against": "kdd"}, "student.against = 'kdd' is no variant; did you mean kd?"),
        ({"against": "everything"}, "student.against = 'everything' is no variant; the variants are no_kd, kd"),
        (
            {"variants": {"a": {"objective": {"kind": "fine_tune"}}}, "intermediate": {}},
            "set intermediate to null in student.variants.a",
        ),
        ({"objective": {"kind": "fine_tune"}, "intermediate": {}}, "student.intermediate distils, but student.objective.kind"),
    ],
)
def test_wrong_variants_are_named_with_what_is_allowed(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        students(**changes)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_override_changes_variants_that_the_file_names_and_makes_none(tmp_path: Path) -> None:
    file, change = tmp_path / "job.yaml", "student.variants.kd.training.epochs=9"
    file.write_text(json.dumps(minimal()))
    with pytest.raises(
        ConfigError, match=r"override student\.variants\.kd\.training\.epochs: the job names no variant 'kd' \(it names none"
    ):
        load_job(file, [change])
    file.write_text(json.dumps(minimal(student__variants={"no_kd": {}, "kd": {}})))
    config = load_job(file, [change])
    assert isinstance(config, ExperimentConfig)
    assert config.student_variants[1].student.training.epochs == 9
    with pytest.raises(ConfigError, match=r"names no variant 'long' \(it names no_kd, kd\)"):
        load_job(file, ["student.variants.long.training.epochs=9"])
    added = load_job(file, ["student.variants.long={}", "student.variants.long.training.epochs=9"])
    assert isinstance(added, ExperimentConfig)
    assert [one.name for one in added.student_variants] == ["no_kd", "kd", "long"]


def test_errors_of_several_variants_are_all_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        students(variants={"a": {"rowz": "all"}, "b": {"training": {"epoch": 1}}})
    assert [line.strip() for line in str(caught.value).split(": ", 1)[1].splitlines()] == [
        "unknown key student.variants.a.rowz; did you mean rows?",
        "unknown key student.variants.b.training.epoch; did you mean epochs?",
    ]


def test_a_variant_on_labels_needs_labels() -> None:
    changes = {"data__label": None, "teacher__fine_tune": False, "student__objective": {"kind": "vanilla_kd", "alpha": 1.0}}
    with pytest.raises(
        ConfigError, match=r"student\.variants\.no_kd\.objective\.kind = fine_tune \(variant no_kd\) needs labels"
    ):
        build(minimal(**changes))
    assert build(minimal(**changes, student__variants={"kd": {}})).student_variants[0].name == "kd"


def test_model_folders_of_variants_start_from_the_root_and_are_sent_with_a_job(tmp_path: Path) -> None:
    for name in ("small", "smaller", "large"):
        (tmp_path / name).mkdir()
    job = tmp_path / "job.yaml"
    content = minimal(
        teacher__model="./large", student__model="./small", student__variants={"kd": {}, "less": {"model": "./smaller"}}
    )
    job.write_text(str(content).replace("None", "null"))
    config = load_job(job, root=str(tmp_path))
    assert config.student_variants[1].student.model == str(tmp_path / "smaller")
    assert config.student_models == (str(tmp_path / "small"), str(tmp_path / "smaller"))
    relative = load_job(job)
    assert ("student.variants.less.model", "./smaller") in [
        (key, value) for key, value, _ in local_paths(relative, str(tmp_path))
    ]


@given(
    st.dictionaries(
        st.sampled_from(["a", "b2", "kd_all"]),
        st.fixed_dictionaries(
            {},
            optional={
                "rows": st.sampled_from(["labelled", "all"]),
                "training": st.fixed_dictionaries({}, optional={"epochs": st.integers(1, 9), "batch_size": st.integers(1, 9)}),
                "objective": st.sampled_from([{"alpha": 0.25}, {"kind": "mse_kd"}, {"kind": "vanilla_kd", "temperature": 3}]),
            },
        ),
        min_size=1,
    )
)
def test_variants_survive_the_resolved_configuration(variants: dict[str, Any]) -> None:
    config = students(variants=variants)
    again = ExperimentConfig.model_validate_json(config.model_dump_json())
    assert again == config
    assert again.student_variants == config.student_variants
    assert config.student.variants == variants


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., TuneConfig]:
    def build_search(*, space: dict[str, Any] | None = None, **student: Any) -> TuneConfig:
        base = minimal(**{f"student__{key}": value for key, value in student.items()})
        return build_tune({"kind": "tune", "name": "search", "base": base, **({"space": space} if space else {})})

    return build_search


HARD = {"objective": {"kind": "fine_tune"}}
RATE = {"kind": "loguniform", "low": 1e-5, "high": 1e-3}


def test_a_search_varies_the_last_variant_and_compares_it_with_the_first(search: Callable[..., TuneConfig]) -> None:
    config = search(variants={"hard": HARD, "middle": {}, "soft": {"objective": {"temperature": 4}}})
    assert config.base.searched_variant.name == "soft"  # type: ignore[union-attr]  # the job has one
    assert list(config.space) == ["student.objective.alpha"], "the variant sets its temperature itself"
    path = "student.training.learning_rate"
    own = {**HARD, "training": {"learning_rate": 1e-3}}
    assert search(space={path: RATE}, variants={"hard": HARD, "soft": {}}).baseline_paths == (path,)
    assert search(space={path: RATE}, variants={"hard": own, "soft": {}}).baseline_paths == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants": {"kd": {}}}, "kd, the first of student.variants, distils; a search compares with a student on labels"),
        ({"variants": {"kd": {}, "hard": HARD}}, r"student\.variants\.hard\.objective\.kind = 'fine_tune' distils nothing"),
        ({"variants": {"hard": HARD, "kd": {"model": "other"}}}, "hard and kd begin from small and other"),
        (
            {"variants": {"hard": HARD, "kd": {"objective": {"alpha": 1}}}, "space": {"student.objective.alpha": RATE}},
            r"sets student\.variants\.kd\.objective\.alpha itself",
        ),
        (
            {
                "variants": {"hard": HARD, "kd": {"objective": {"alpha": 1}}},
                "space": {"student.variants.kd.objective.alpha": RATE},
            },
            "student.variants.kd.objective.alpha cannot be searched",
        ),
    ],
)
def test_searches_that_compare_nothing_are_refused(
    search: Callable[..., TuneConfig], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        search(**changes)
