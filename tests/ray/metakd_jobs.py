"""A small Meta-KD job for Ray."""

from pathlib import Path
from typing import Any

from raykd.config import MetaKDConfig
from tests.unit.metakd.worlds import job_content, save_model, write_rows


def config(tmp_path: Path, **changes: Any) -> MetaKDConfig:
    for part, (count, seed) in {"train": (180, 1), "validation": (60, 2), "test": (90, 3)}.items():
        write_rows(tmp_path / f"{part}.tsv", count, seed=seed)
    small = save_model(tmp_path / "student", hidden=16, layers=1, heads=1, seed=2)
    content = job_content(tmp_path, teacher=save_model(tmp_path / "teacher", hidden=32), student=small)
    training = {"training": {"epochs": 2, "batch_size": 16, "learning_rate": 5e-3}}
    content["teacher"] |= training
    content["student"] |= {"domains": ["kitchen"], "intermediate": training, "prediction": {**training, "expertise": True}}
    content["baselines"] = ["hard_labels", "single_teacher"]
    return MetaKDConfig.model_validate(content | changes)
