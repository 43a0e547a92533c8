"""A search that is valid and never run."""

from raykd.config.load_tune import build_tune
from raykd.config.tune import TuneConfig


def search(**content: object) -> TuneConfig:
    base = {
        "data": {
            "input_schema": "t:str:1,y:str:1",
            "first_sequence": "t",
            "label": "y",
            "train": ["a.tsv"],
            "test": ["b.tsv"],
        },
        "teacher": {"model": "teacher"},
        "student": {"model": "student"},
    }
    return build_tune({"kind": "tune", "name": "search", "base": base, **content})
