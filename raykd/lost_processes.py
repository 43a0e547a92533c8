"""Errors by which Ray reports that the process of an actor was lost."""


def lost_process_errors() -> tuple[type[Exception], ...]:
    """Exceptions of a call to an actor whose process has ended, cannot be reached, or was ended by Ray to free memory."""
    from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError

    return ActorDiedError, ActorUnavailableError, OutOfMemoryError
