"""Standard output and error that never end a command: closed, full, or unable to show a character."""

import codecs
import io
import os
import sys

SPELLINGS = {"–": "-", "—": "-", "−": "-", "×": "x", "±": "+-", "…": "...", "·": "*", "≥": ">=", "≤": "<=", "²": "^2"}
"""ASCII for characters of raykd's own tables; any other that cannot be shown becomes a question mark."""


class StandardStream(io.TextIOWrapper):
    """Standard output or error. After a write that fails, further writes are dropped, and ``failure`` has the reason."""

    failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write text, or drop it."""
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, or drop it."""
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Point the file descriptor at the null device, so that buffers can be flushed, here and in child processes."""
        self.failure = self.failure or error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)


def protect_standard_streams() -> None:
    """Replace this process's standard output and error by :class:`StandardStream`; open the closed ones on the null device.

    A descriptor that stays closed would be given to the next file that is opened, and output written into that file.
    """
    codecs.register_error("raykd", _spell)
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):  # not one that a test or a notebook has put there
            encoding = "utf-8" if stream is None else stream.encoding
            raw = open(descriptor, "wb", closefd=False)  # noqa: SIM115 - lives as long as the process
            lines = name == "stderr" or os.isatty(descriptor)
            setattr(sys, name, StandardStream(raw, encoding=encoding, errors="raykd", line_buffering=lines))


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Spell characters that the stream's encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(SPELLINGS.get(one, "?") for one in error.object[error.start : error.end]), error.end
