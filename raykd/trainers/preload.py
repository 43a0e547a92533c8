"""Imports of a training worker that it makes while it waits for its first task."""

import contextlib
import threading

import torch

from raykd.models.model_code import import_model_code


def preload(*, deepspeed: bool, device: torch.device) -> threading.Thread:
    """Start :func:`import_first_model` in a thread; join it before the first training."""
    imports = {"deepspeed": deepspeed, "device": device}
    thread = threading.Thread(target=import_first_model, kwargs=imports, name="raykd-preload", daemon=True)
    thread.start()
    return thread


def import_first_model(*, deepspeed: bool, device: torch.device) -> None:
    """Import what the first model of a process needs and, where it is used, DeepSpeed.

    It takes longer than all other imports: transformers' modelling code imports torch's compiler.
    """
    with contextlib.suppress(ImportError):  # the training imports it again, and reports why it cannot
        import_model_code()
        if deepspeed:
            from raykd.trainers.engines.deepspeed_engine import import_deepspeed

            import_deepspeed(device)
