"""Progress of a call from Python: lines on standard error, in a notebook on standard output."""

import os
import sys
import time

from rich.console import Console

from raykd.run.progress import Terminal


def call_terminal() -> Terminal:
    """A terminal for one call. Notebooks show plain lines; their standard error would look like a failure."""
    for name, value in {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}.items():
        os.environ.setdefault(name, value)  # as in the command line
    console = None
    if Console().is_jupyter:
        console = Console(file=sys.stdout, force_jupyter=False, force_terminal=False, highlight=False, soft_wrap=True)
    return Terminal(console, called=time.time())
