"""Command, date, machine and versions that a reader needs to repeat a report's metrics."""

import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version

from raykd.tracking.credentials import without_secrets


def environment() -> dict[str, str]:
    """Versions and hardware that reproducing the results needs."""
    libraries = ("raykd", "torch", "transformers", "deepspeed", "ray")
    return {
        "command": shlex.join(["raykd", *(str(without_secrets(word)) for word in sys.argv[1:])]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {version(name)}" for name in libraries),
    }
