"""The experiment's configuration: pydantic only, neither torch nor ray."""

from raykd.config.data import DataConfig
from raykd.config.experiment import ExperimentConfig, LogitsConfig, StudentConfig, TeacherConfig, TrackingConfig
from raykd.config.load import build, load, load_job, merge, parse_override, read_yaml
from raykd.config.metakd import MetaKDConfig
from raykd.config.objectives import DecoupledKD, DistKD, FineTune, MseKD, ObjectiveConfig, VanillaKD
from raykd.config.training import (
    ComputeConfig,
    DeepSpeedEngineConfig,
    EngineConfig,
    ModelTask,
    TorchEngineConfig,
    TrainingConfig,
)

__all__ = [
    "ComputeConfig",
    "DataConfig",
    "DecoupledKD",
    "DeepSpeedEngineConfig",
    "DistKD",
    "EngineConfig",
    "ExperimentConfig",
    "FineTune",
    "LogitsConfig",
    "MetaKDConfig",
    "ModelTask",
    "MseKD",
    "ObjectiveConfig",
    "StudentConfig",
    "TeacherConfig",
    "TorchEngineConfig",
    "TrackingConfig",
    "TrainingConfig",
    "VanillaKD",
    "build",
    "load",
    "load_job",
    "merge",
    "parse_override",
    "read_yaml",
]
