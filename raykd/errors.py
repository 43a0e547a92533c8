"""The errors raykd raises for things a user can cause. Every message says what was given, what is allowed, what to change."""


class RaykdError(Exception):
    """Anything a user can cause; the command line prints the message and exits with code 2."""


class ConfigError(RaykdError):
    """The configuration is not one that raykd can run."""


class DataError(RaykdError):
    """Input rows, logits or tables are not what the configuration says they are; names file and line."""


class ModelError(RaykdError):
    """A model or tokenizer folder is missing, incomplete, or does not fit its data."""


class CheckpointError(RaykdError):
    """No usable checkpoint where one is needed, or one that belongs to another run."""


class ResourceError(RaykdError):
    """The cluster cannot place what was asked for, or the output cannot be written."""


class TrainingError(RaykdError):
    """Training stopped itself: a non-finite loss or gradient, or a wait that outlived its limit."""
