"""A write in a thread: its end, its duration, its error."""

import threading

import pytest

from raykd.errors import ResourceError
from raykd.trainers.background_write import BackgroundWrite


def test_the_write_runs_beside_its_caller() -> None:
    release = threading.Event()
    write = BackgroundWrite(lambda: release.wait(30) or None)
    assert not write.ended
    release.set()
    write.wait()
    assert write.ended
    assert not write.failed
    assert write.seconds > 0


def test_an_error_is_raised_where_the_write_is_waited_for() -> None:
    def fail() -> None:
        raise ResourceError("no space")

    write = BackgroundWrite(fail)
    write.join()
    assert write.failed
    with pytest.raises(ResourceError, match="no space"):
        write.wait()
