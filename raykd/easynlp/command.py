"""The command ``raykd easynlp``: what EasyNLP's ``easynlp`` was, and the import of its checkpoints."""

import logging
import time
from collections.abc import Sequence

from raykd.easynlp.console import printing
from raykd.easynlp.flags import FLAGS
from raykd.errors import ConfigError

log = logging.getLogger(__name__)

SCRIPTS = ("main.py", "main")
"""Names of EasyNLP's own script with the same flags, as in ``python main.py --mode ...``."""
HELP = """EasyNLP's command line: replace `easynlp` by `raykd easynlp`, the flags stay.

  raykd easynlp --mode=train --tables=train.tsv,dev.tsv --checkpoint_dir=DIR ...
  raykd easynlp --mode=evaluate --tables=dev.tsv --checkpoint_dir=DIR ...
  raykd easynlp --mode=predict --tables=dev.tsv --checkpoint_dir=DIR --outputs=FILE --output_schema=predictions ...
  raykd easynlp import DIR OUT        an EasyNLP checkpoint as a Hugging Face folder

"""


def main(argv: Sequence[str]) -> int:
    """Run the command with its arguments, the name of the program left out; returns the exit code.

    Raises RaykdError for anything a user can cause.
    """
    arguments = list(argv)
    if not arguments or {"--help", "-h"} & set(arguments):
        print(HELP + "\n".join(f"  --{flag.name:30} {flag.meaning}" for flag in FLAGS))  # noqa: T201
        return 0
    started = time.monotonic()
    with printing():
        _run(arguments)
        log.info("Duration time: %s s", time.monotonic() - started)
    return 0


def _run(arguments: list[str]) -> None:
    command = arguments[0]
    if command == "import":
        from raykd.easynlp.import_checkpoint import import_command

        import_command(arguments[1:])
        return
    if not command.startswith("-"):
        if command.rsplit("/", 1)[-1] not in SCRIPTS:
            raise ConfigError(f"raykd easynlp {command}: there is no such command; use import, {SCRIPTS[0]}, or flags alone")
        arguments = arguments[1:]
    _run_mode(arguments)


def _run_mode(arguments: list[str]) -> None:
    from raykd.easynlp.settings import PredictSettings, TrainSettings, read_settings

    settings, flags = read_settings(arguments)
    if isinstance(settings, TrainSettings):
        from raykd.easynlp.train import train

        train(settings, flags)
        return
    from raykd.easynlp.score import evaluate, predict

    if isinstance(settings, PredictSettings):
        predict(settings)
    else:
        evaluate(settings)
