"""Experiment tracking: none, Weights & Biases or TensorBoard, behind one interface."""

from raykd.tracking.credentials import check_tracking
from raykd.tracking.offline import OfflineRun, read_offline_run, read_offline_table
from raykd.tracking.tensorboard_tracker import TensorBoardTracker
from raykd.tracking.tracker import NullTracker, TrackedRun, Tracker
from raykd.tracking.trackers import listener, metrics_of, open_tracker
from raykd.tracking.wandb_tracker import WandbTracker

__all__ = [
    "NullTracker",
    "OfflineRun",
    "TensorBoardTracker",
    "TrackedRun",
    "Tracker",
    "WandbTracker",
    "check_tracking",
    "listener",
    "metrics_of",
    "open_tracker",
    "read_offline_run",
    "read_offline_table",
]
