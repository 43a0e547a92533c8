"""Configuration of jobs: pydantic only, neither torch nor Ray."""

from raykd.config.data import DataConfig
from raykd.config.experiment import ExperimentConfig, TrackingConfig
from raykd.config.load import build, load, load_job, merge, parse_override, read_yaml
from raykd.config.load_tune import is_search, load_tune, with_values
from raykd.config.logits import LogitsConfig
from raykd.config.metakd import MetaKDConfig
from raykd.config.objectives import (
    CustomObjectiveConfig,
    DecoupledKDConfig,
    DistKDConfig,
    FineTuneConfig,
    MseKDConfig,
    ObjectiveConfig,
    VanillaKDConfig,
)
from raykd.config.student import StudentConfig, StudentVariant
from raykd.config.teacher_kinds import CausalTeacherConfig, TeacherConfig
from raykd.config.training import (
    ComputeConfig,
    DeepSpeedEngineConfig,
    EngineConfig,
    ModelTask,
    TorchEngineConfig,
    TrainingConfig,
)
from raykd.config.tune import TuneConfig

__all__ = [
    "CausalTeacherConfig",
    "ComputeConfig",
    "CustomObjectiveConfig",
    "DataConfig",
    "DecoupledKDConfig",
    "DeepSpeedEngineConfig",
    "DistKDConfig",
    "EngineConfig",
    "ExperimentConfig",
    "FineTuneConfig",
    "LogitsConfig",
    "MetaKDConfig",
    "ModelTask",
    "MseKDConfig",
    "ObjectiveConfig",
    "StudentConfig",
    "StudentVariant",
    "TeacherConfig",
    "TorchEngineConfig",
    "TrackingConfig",
    "TrainingConfig",
    "TuneConfig",
    "VanillaKDConfig",
    "build",
    "is_search",
    "load",
    "load_job",
    "load_tune",
    "merge",
    "parse_override",
    "read_yaml",
    "with_values",
]
