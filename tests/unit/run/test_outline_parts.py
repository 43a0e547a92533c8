"""Notes on earlier results: how many are there, and which settings were others."""

from pathlib import Path
from typing import Any

import pytest

from raykd.config import ExperimentConfig
from raykd.data import storage
from raykd.distill.dry_run import outline
from raykd.metakd.dry_run import outline as meta_outline
from raykd.run.outline_parts import results_note, settings_note
from tests.local_pipeline import LocalMetaPipeline, LocalPipeline
from tests.unit.metakd.worlds import make_config

VARIANTS: dict[str, Any] = {"no_kd": {"objective": {"kind": "fine_tune"}}, "kd": {}}


@pytest.mark.parametrize(
    ("made", "wanted", "note"),
    [(0, 1, ""), (1, 1, "  (a result is there)"), (0, 3, ""), (2, 3, "  (2 of 3 results are there)")],
)
def test_results_are_counted(made: int, wanted: int, note: str, tmp_path: Path) -> None:
    for number in range(made):
        (tmp_path / str(number)).write_text("{}")
    assert results_note([str(tmp_path / str(number)) for number in range(wanted)]) == note


def last_run(config: ExperimentConfig, folder: Path) -> str:
    storage.write_json(str(folder / "experiment.json"), config.model_dump(mode="json"))
    return str(folder)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({}, None),
        ({"student__objective__temperature": 9.0}, "student.objective.temperature 2.0 -> 9.0"),
        (
            {"student__seeds": [1, 2, 3], "data__max_rejected_rows": 3},
            "data.max_rejected_rows 0 -> 3, student.seeds [1] -> [1, 2, 3]",
        ),
        ({"student__variants": {**VARIANTS, "more": {}}}, "student.variants.more (absent) -> (a section)"),
    ],
)
def test_settings_that_were_others_are_named(
    changes: dict[str, Any], note: str | None, experiment: Any, tmp_path: Path
) -> None:
    same = {"student__seeds": [1], "student__objective__temperature": 2.0, "student__variants": VARIANTS}
    folder = last_run(experiment(**same), tmp_path)
    found = settings_note(experiment(**{**same, **changes}), folder)
    assert found == [] if note is None else note in found[0]


def test_a_setting_that_another_version_lacked_is_no_change(experiment: Any, tmp_path: Path) -> None:
    content = experiment().model_dump(mode="json")
    del content["compute"]["threads"]
    content["compute"]["forgotten"] = 1
    storage.write_json(str(tmp_path / "experiment.json"), content)
    assert settings_note(experiment(), str(tmp_path)) == []


def test_a_finished_run_has_a_result_of_every_stage(experiment: Any, tmp_path: Path) -> None:
    config = experiment()
    assert "there)" not in outline(config)
    pipeline = LocalPipeline(config)
    pipeline.check()
    pipeline.run()
    lines = outline(config).splitlines()[2:]
    assert all(line.endswith(" there)") for line in lines), lines
    assert "changed since the last run: student.objective.alpha" in outline(experiment(student__objective__alpha=0.123))


def test_a_finished_meta_kd_run_has_a_result_of_every_stage(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    pipeline = LocalMetaPipeline(config)
    pipeline.check()
    pipeline.run()
    lines = meta_outline(config).splitlines()[2:]
    assert all(line.endswith(" there)") for line in lines), lines
