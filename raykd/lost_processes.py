"""Errors by which Ray reports that the process of an actor was lost."""


def ended_process_errors() -> tuple[type[Exception], ...]:
    """Exceptions of a call to an actor whose process has ended, also where Ray has ended it to free memory."""
    from ray.exceptions import ActorDiedError, OutOfMemoryError

    return ActorDiedError, OutOfMemoryError


def lost_process_errors() -> tuple[type[Exception], ...]:
    """Exceptions of a call to an actor whose process has ended, or cannot be reached for the moment."""
    from ray.exceptions import ActorUnavailableError

    return *ended_process_errors(), ActorUnavailableError
