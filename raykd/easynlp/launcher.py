"""Flags of PyTorch's launcher, which precede a script's name in EasyNLP's commands."""

from collections.abc import Sequence
from dataclasses import dataclass

from raykd.errors import ConfigError

_COUNTS = ("nproc_per_node", "nnodes")
_VALUES = (*_COUNTS, "node_rank", "master_addr", "master_port", "rdzv_backend", "rdzv_endpoint", "rdzv_id", "max_restarts")
_SWITCHES = ("use_env", "standalone", "no_python")


@dataclass(frozen=True)
class Launched:
    """A script and the number of processes."""

    script: str
    """Name without folders and ``.py``."""
    arguments: tuple[str, ...]
    """Arguments after the name."""
    given: str
    """Name as given."""
    processes: int | None
    """Processes per machine; None when not given."""
    machines: int = 1

    @property
    def worker_flags(self) -> tuple[str, ...]:
        """The number of processes as EasyNLP's own flags; empty when not given, or when ``--worker_gpu`` is given too."""
        own = any(argument.startswith(("--worker_gpu", "--worker_count")) for argument in self.arguments)
        if self.processes is None or own:
            return ()
        return (f"--worker_gpu={self.processes}", f"--worker_count={self.machines}")


def read_launch(arguments: Sequence[str]) -> Launched | None:
    """The script of a command, with the launcher's flags before its name; None where the command has no script.

    Raises ConfigError for an invalid value of a launcher's flag.
    """
    rest, given = list(arguments), {}
    while rest and rest[0].startswith("--"):
        name, separator, value = rest[0][2:].partition("=")
        name = name.replace("-", "_")
        if name not in (*_VALUES, *_SWITCHES):
            return None
        del rest[0]
        if name in _VALUES and not separator:
            value = rest.pop(0) if rest else ""
        given[name] = value
    if not rest or rest[0].startswith("-"):
        return None
    counts = [_count(name, given[name]) if name in given else None for name in _COUNTS]
    script = rest[0].rsplit("/", 1)[-1].removesuffix(".py")
    return Launched(script, tuple(rest[1:]), rest[0], counts[0], counts[1] or 1)


def _count(name: str, text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ConfigError(f"--{name}={text}: give the number of {'machines' if name == 'nnodes' else 'processes a machine'}")
    return int(text)
