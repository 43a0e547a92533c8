"""Errors that a user can cause. Every message gives the value found, the values allowed, and what to change."""

from collections.abc import Collection
from itertools import islice

SHOWN_VALUES = 10
"""Values that a message lists."""


class RaykdError(Exception):
    """Base class; the command line prints the message and exits with code 2."""


class ConfigError(RaykdError):
    """The configuration is invalid."""


class DataError(RaykdError):
    """Input rows, logits or tables do not match the configuration; the message names file and line."""


class ModelError(RaykdError):
    """A model or tokenizer folder is missing, incomplete, or does not fit its data."""


class CheckpointError(RaykdError):
    """No usable checkpoint where one is needed, or one that belongs to another run."""


class ResourceError(RaykdError):
    """The cluster lacks resources, or the output cannot be written."""


class TrainingError(RaykdError):
    """Training stopped: a non-finite loss or gradient, an invalid objective, or a timeout."""


class Int8RefusedError(RaykdError):
    """No 8-bit file is as good as the float file; the message has the measurements."""


def shorten(text: str) -> str:
    """The text in quotes, cut for a message."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def list_values(values: Collection[str]) -> str:
    """The first values in quotes, and the number of the others: ``'a', 'b' and 981 more``."""
    hidden = len(values) - SHOWN_VALUES
    return ", ".join(map(shorten, islice(values, SHOWN_VALUES))) + (f" and {hidden:,} more" if hidden > 0 else "")
