"""Imports of a training worker that it makes while it waits for its first task."""

import contextlib
import threading

import torch

from raykd.models.model_code import import_model_code


def preload(*, deepspeed: bool, device: torch.device) -> threading.Thread:
    """Start the imports of the first model and, where it is used, of DeepSpeed, in a thread; join it before the first training.

    They take longer than all others: transformers' modelling code imports torch's compiler.
    """
    thread = threading.Thread(target=_import, args=(deepspeed, device), name="raykd-preload", daemon=True)
    thread.start()
    return thread


def _import(deepspeed: bool, device: torch.device) -> None:
    with contextlib.suppress(ImportError):  # the training imports it again, and reports why it cannot
        import_model_code()
        if deepspeed:
            from raykd.trainers.engines.deepspeed_engine import import_deepspeed

            import_deepspeed(device)
