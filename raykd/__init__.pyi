from raykd.api.jobs import load_run as load_run
from raykd.api.jobs import run as run
from raykd.api.model_files import export as export
from raykd.api.model_files import shrink as shrink
from raykd.api.run_result import RunResult as RunResult
from raykd.api.search import tune as tune
from raykd.api.search_result import SearchResult as SearchResult
from raykd.api.trained_model import TrainedModel as TrainedModel
from raykd.errors import CheckpointError as CheckpointError
from raykd.errors import ConfigError as ConfigError
from raykd.errors import DataError as DataError
from raykd.errors import Int8RefusedError as Int8RefusedError
from raykd.errors import ModelError as ModelError
from raykd.errors import RaykdError as RaykdError
from raykd.errors import ResourceError as ResourceError
from raykd.errors import TrainingError as TrainingError

__version__: str
__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Int8RefusedError",
    "ModelError",
    "RaykdError",
    "ResourceError",
    "RunResult",
    "SearchResult",
    "TrainedModel",
    "TrainingError",
    "__version__",
    "export",
    "load_run",
    "run",
    "shrink",
    "tune",
]
