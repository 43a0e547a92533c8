"""One write at a time in a thread, beside training; its error is raised where it is waited for."""

import threading
import time
from collections.abc import Callable


class BackgroundWrite:
    """A write that has begun."""

    def __init__(self, write: Callable[[], None]) -> None:
        """Begin to write in a thread."""
        self._write = write
        self._error: BaseException | None = None
        self.seconds = 0.0
        """Duration of the write, known at its end."""
        self._thread = threading.Thread(target=self._run, name="raykd-checkpoint", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """True once the write is complete or has failed."""
        return not self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """True once the write has failed."""
        return self._error is not None

    def join(self) -> None:
        """Wait for the end of the write, complete or not."""
        self._thread.join()

    def wait(self) -> None:
        """Wait for the end of the write. Raises its error."""
        self.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        begun = time.monotonic()
        try:
            self._write()
        except BaseException as error:  # of any type: raised in the thread that waits
            self._error = error
        self.seconds = time.monotonic() - begun
