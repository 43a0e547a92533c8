"""Errors that a user can cause. Every message gives the value found, the values allowed, and what to change."""


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
