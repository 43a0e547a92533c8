"""The command ``raykd easynlp``: EasyNLP's ``easynlp``, its scripts, and the import of its checkpoints."""

import logging
import time
from collections.abc import Sequence

from raykd.easynlp.console import printing
from raykd.easynlp.flag_messages import errors_name_flags
from raykd.easynlp.flags import flag_help
from raykd.easynlp.launcher import read_launch
from raykd.easynlp.scripts import SCRIPTS as META_SCRIPTS
from raykd.easynlp.user_parameters import META_PARAMETERS, parameter_help
from raykd.errors import ConfigError

log = logging.getLogger(__name__)

SCRIPTS = ("main",)
"""Names of EasyNLP's own script with the same flags, as in ``python main.py --mode ...``."""
HELP = """EasyNLP's command line: replace `easynlp` by `raykd easynlp`, the flags stay.

  raykd easynlp --mode=train --tables=train.tsv,dev.tsv --checkpoint_dir=DIR ...
  raykd easynlp --mode=evaluate --tables=dev.tsv --checkpoint_dir=DIR ...
  raykd easynlp --mode=predict --tables=dev.tsv --checkpoint_dir=DIR --outputs=FILE --output_schema=predictions ...
  raykd easynlp import DIR OUT        an EasyNLP checkpoint as a Hugging Face folder
  raykd easynlp [launcher flags] X    a script of Meta-KD: {scripts}

Flags:
{flags}

Keys of --user_defined_parameters, written "key=value key=value":
{keys}

Keys of Meta-KD's scripts in addition:
{meta_keys}"""


def main(argv: Sequence[str]) -> int:
    """Run the command with its arguments, without the name of the program; returns the exit code.

    Raises RaykdError for anything a user can cause.
    """
    arguments = list(argv)
    if not arguments or {"--help", "-h"} & set(arguments):
        keys = {"keys": parameter_help(), "meta_keys": parameter_help(META_PARAMETERS)}
        print(HELP.format(scripts=", ".join(META_SCRIPTS), flags=flag_help(), **keys))  # noqa: T201 (what --help is for)
        return 0
    started = time.monotonic()
    with printing(), errors_name_flags():
        _run(arguments)
        log.info("Duration time: %s s", time.monotonic() - started)
    return 0


def _run(arguments: list[str]) -> None:
    command = arguments[0]
    if command == "import":
        from raykd.easynlp.import_checkpoint import import_command

        import_command(arguments[1:])
        return
    launched = read_launch(arguments)
    if launched is None:
        _run_mode(arguments)
    elif launched.script in META_SCRIPTS:
        META_SCRIPTS[launched.script](launched)
    elif launched.script in SCRIPTS:
        _run_mode([*launched.worker_flags, *launched.arguments])
    else:
        known = ", ".join(("import", "main.py", *META_SCRIPTS))
        raise ConfigError(f"raykd easynlp {launched.given}: there is no such command; use {known}, or flags alone")


def _run_mode(arguments: list[str]) -> None:
    from raykd.easynlp.settings import PredictSettings, TrainSettings, read_settings

    settings, flags = read_settings(arguments)
    from raykd.easynlp.train import as_trained, train

    if isinstance(settings, TrainSettings):
        train(settings, flags)
        return
    from raykd.easynlp.score import evaluate, predict

    settings = as_trained(settings)
    if isinstance(settings, PredictSettings):
        predict(settings)
    else:
        evaluate(settings)
