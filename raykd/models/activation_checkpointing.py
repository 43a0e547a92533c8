"""Activations that are computed again in the backward pass instead of being kept."""

from typing import Any

from raykd.errors import ConfigError


def checkpoint_activations(model: Any, *, name: str) -> None:
    """Keep the inputs of each layer alone and compute the rest twice; Chen et al. 2016, arXiv:1604.06174.

    Dropout draws the same numbers again, so weights are what they would be without it. Raises ConfigError for a model that
    cannot.
    """
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise ConfigError(
            f"gradient_checkpointing = true, but {name} is of type {model.config.model_type}, which does not support it; set "
            "training.gradient_checkpointing to false, or lower training.micro_batch_size"
        )
    settings = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=settings)
    else:  # transformers before it gave the method this name
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=settings)
