"""Where figures go while a model trains: nowhere, Weights & Biases, or TensorBoard, behind one small interface."""

from raykd.tracking.credentials import check_tracking
from raykd.tracking.offline import OfflineRun, read_offline_run, read_offline_table
from raykd.tracking.trackers import NullTracker, TensorBoardTracker, Tracker, WandbTracker, listener, metrics_of, open_tracker

__all__ = [
    "NullTracker",
    "OfflineRun",
    "TensorBoardTracker",
    "Tracker",
    "WandbTracker",
    "check_tracking",
    "listener",
    "metrics_of",
    "open_tracker",
    "read_offline_run",
    "read_offline_table",
]
