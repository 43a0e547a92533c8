"""Names of the labels, in the order of their ids: given in the job file, or in a file."""

from raykd.data import storage
from raykd.errors import ConfigError


def read_labels(labels: tuple[str, ...] | str | None) -> tuple[str, ...]:
    """Label texts in the order of their ids; from a file, one value a line, spaces around it removed.

    Raises ConfigError when there is no such file, or it has fewer than two labels, one of them twice, or is not text.
    """
    if labels is None:
        raise ValueError("data.labels is left out, and the labels of the rows have not been found yet")
    if not isinstance(labels, str):
        return labels
    if not storage.exists(labels):
        raise ConfigError(f"data.labels: there is no file {labels}; give a list of labels, or a file with one a line")
    try:
        lines = storage.read_bytes(labels).decode("utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"data.labels: {labels} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    values = tuple(line.strip() for line in lines)
    if "" in values:
        raise ConfigError(f"data.labels: line {values.index('') + 1} of {labels} is blank; remove it, each line is a label")
    if len(values) < 2 or len(set(values)) != len(values):
        raise ConfigError(f"data.labels: {labels} holds {list(values)}; it needs at least two labels, each once, one a line")
    return values
