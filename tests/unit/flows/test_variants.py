"""Student variants from a job to its report."""

import json
from pathlib import Path

import pytest

from raykd.config import build, merge

SHORT = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
VARIANTS = {
    "no_kd": {"objective": {"kind": "fine_tune"}},
    "kd": {},
    "relation": {"intermediate": {"mode": "before", "training": SHORT}},
    "large": {"training": {"epochs": 3}},
}


def settings(folder: Path) -> dict:
    return json.loads((folder / "task.json").read_text())


def test_variants_train_with_equal_steps_are_reported_and_resume(experiment, local, small_world):
    variants = {**VARIANTS, "large": {**VARIANTS["large"], "model": small_world["teacher"]}}
    changes = {
        "compute__engine": {"kind": "torch"},
        "teacher__training": SHORT,
        "student__training": SHORT,
        "student__seeds": [1, 2],
    }
    config = experiment(**changes, student__variants=variants, student__against="kd")
    pipeline = local(config)
    comparison = pipeline.run()
    folder = Path(pipeline.runner.folder) / "students"
    assert [one.name for one in comparison.systems] == ["teacher", *VARIANTS]
    epochs = {name: settings(folder / f"{name}-seed2")["training"]["epochs"] for name in VARIANTS}
    assert epochs == {"no_kd": 2, "kd": 2, "relation": 1, "large": 3}
    work = {one.name: one.work for one in comparison.systems if one.work}
    assert len({work[name].steps for name in ("no_kd", "kd", "relation")}) == 1
    assert [(name, one.matched) for name, one in work.items()][-1] == ("large", False)
    assert work["large"].steps == 3 * work["kd"].steps // 2
    assert settings(folder / "relation-seed1")["model"] == str(folder / "relation-seed1/intermediate/model")
    sizes = {one.name: one.footprint.encoder for one in comparison.systems}
    assert sizes["large"] == sizes["teacher"] > sizes["kd"]
    assert len(comparison.verdicts) == 3 + 2
    card = (folder / "large-seed1/model/README.md").read_text()
    assert "student, large, seed 1" in card
    assert small_world["teacher"] in card

    again = local(config)
    assert again.run() == comparison
    assert again.trained == []
    more = local(
        build(merge(config.model_dump(mode="json"), [(["student", "variants", "hot"], {"objective": {"temperature": 9}})]))
    )
    more.run()
    assert more.trained == ["student hot seed 1", "student hot seed 2"], "a further variant changes no other training"


def test_default_variants_have_the_keys_of_the_same_variants_written_out(experiment, local):
    """Names and sections do not identify a training; its settings and inputs do."""
    changes = {
        "compute__engine": {"kind": "torch"},
        "teacher__training": SHORT,
        "student__training": SHORT,
        "student__seeds": [1],
    }
    named = {"hard": {"objective": {"kind": "fine_tune"}, "rows": "labelled"}, "soft": {}}
    keys = [
        [one.task.key for one in local(experiment(**changes, name=name, student__variants=variants)).students()]
        for name, variants in (("default", None), ("named", named))
    ]
    assert keys[0] == keys[1]


@pytest.mark.parametrize("rows", ["tagged", "rated"])
def test_variants_of_several_labels_and_of_numbers(rows, request, local):
    content = request.getfixturevalue(rows)
    for one in ("teacher", "student"):
        content[one]["training"] = content[one]["training"] | {"epochs": 1}
    variants = {"no_kd": {"objective": {"kind": "fine_tune"}}, "kd": {}, "soft": {"objective": {"alpha": 1.0}}}
    content["student"] |= {"seeds": [1], "variants": variants}
    comparison = local(build(content)).run()
    assert [one.name for one in comparison.systems] == ["teacher", "no_kd", "kd", "soft"]
    assert len(comparison.verdicts) == 2
