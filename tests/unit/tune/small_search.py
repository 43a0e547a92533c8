"""Searches that are valid and never run, and the shared work of a Meta-KD search without Ray."""

from raykd.config import MetaKDConfig
from raykd.config.load_tune import build_tune
from raykd.config.tune import TuneConfig
from raykd.progress import Terminal
from raykd.tune.jobs.metakd_job import MetaKDWork
from tests.local_pipeline import LocalMetaPipeline


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


TEMPERATURE, GAMMA2, GAMMA1 = (
    "student.prediction.temperature",
    "student.intermediate.domain_loss_weight",
    "teacher.domain_loss_weight",
)


class LocalShared(MetaKDWork):
    """Shared work that trains and scores in this process."""

    def __init__(self, base: MetaKDConfig) -> None:
        super().__init__(base, Terminal())
        self.pipeline: LocalMetaPipeline = LocalMetaPipeline(self.base)
