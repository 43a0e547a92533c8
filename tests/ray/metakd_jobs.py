"""A small Meta-KD job for Ray."""

from pathlib import Path
from typing import Any

from raykd.config import MetaKDConfig
from raykd.stage_names import SPLITS
from tests.unit.metakd.worlds import DOMAINS, SCHEMA, save_model, write_rows


def config(tmp_path: Path, **changes: Any) -> MetaKDConfig:
    for part, (count, seed) in {"train": (180, 1), "validation": (60, 2), "test": (90, 3)}.items():
        write_rows(tmp_path / f"{part}.tsv", count, seed=seed)
    training = {"epochs": 2, "batch_size": 16, "learning_rate": 5e-3}
    content = {
        "kind": "meta_kd",
        "name": "small",
        "storage": str(tmp_path / "runs"),
        "data": {
            "input_schema": SCHEMA,
            "first_sequence": "text",
            "label": "label",
            "domain": "domain",
            **{part: [str(tmp_path / f"{part}.tsv")] for part in SPLITS},
        },
        "domains": DOMAINS,
        "sequence_length": 32,
        "teacher": {"model": save_model(tmp_path / "teacher", hidden=32), "training": training},
        "student": {
            "model": save_model(tmp_path / "student", hidden=16, layers=1, heads=1, seed=2),
            "domains": ["kitchen"],
            "intermediate": {"training": training},
            "prediction": {"training": training, "expertise": True},
        },
        "baselines": ["hard_labels", "single_teacher"],
    }
    return MetaKDConfig.model_validate(content | changes)
