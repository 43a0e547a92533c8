"""Messages of raykd in terms of EasyNLP's flags: keys of job files become the flags that set them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from raykd.easynlp.flags import FLAGS
from raykd.errors import RaykdError

FLAG_OF_KEY = {key: f"--{flag.name}" for flag in FLAGS for key in flag.keys}
_KEY = r"(?<![\w./-])(?:compute|data|logits|student|teacher|training)\.[a-z_]+(?:\.[a-z_]+)*(?![\w./*-]|:\d)"
_ADVICE = re.compile(rf",? or (?:set |lower |raise |give |list )?({_KEY})[^;,.)]*| \(({_KEY})\)")
"""An alternative that a key offers, with what is said about it; a key in brackets."""
_VALUE = re.compile(rf"({_KEY}) = (?=\d)")


def in_flags(message: str) -> str:
    """The message with flags in place of keys; advice on keys that no flag sets is left out."""
    message = _ADVICE.sub(lambda found: found[0] if (found[1] or found[2]) in FLAG_OF_KEY else "", message)
    message = _VALUE.sub(lambda found: found[0] if found[1] in FLAG_OF_KEY else "", message)
    return re.sub(_KEY, lambda found: FLAG_OF_KEY.get(found[0], found[0]), message)


@contextmanager
def errors_name_flags() -> Iterator[None]:
    """Let errors of the block name flags instead of keys of a job file."""
    try:
        yield
    except RaykdError as error:
        error.args = (in_flags(str(error)), *error.args[1:])
        raise
