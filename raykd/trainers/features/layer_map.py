"""Layer maps: which student layer learns from which teacher layer."""

from collections.abc import Sequence
from typing import Literal

from raykd.errors import ConfigError

LayerMap = tuple[tuple[int, int], ...]
"""Pairs (student layer, teacher layer), both counted from 1."""


def layer_map(layers: Literal["uniform", "last"] | Sequence[Sequence[int]], *, student: int, teacher: int) -> LayerMap:
    """Resolve the setting ``layers`` for a student and a teacher of so many layers.

    ``uniform`` is TinyBERT's (arXiv:1909.10351): layer i of the student from layer ``i · teacher / student``. ``last`` is the
    last layer of each, as in MiniLM (arXiv:2002.10957). Raises ConfigError when the uniform ratio is not whole, a pair names a
    layer that does not exist, or a student layer occurs twice.
    """
    if layers == "last":
        return ((student, teacher),)
    if layers == "uniform":
        if teacher % student:
            raise ConfigError(
                f"layers = uniform: {teacher} teacher layers cannot be divided evenly among {student} student layers; "
                f"list pairs, for example layers: [[{student}, {teacher}]]"
            )
        ratio = teacher // student
        return tuple((layer, layer * ratio) for layer in range(1, student + 1))
    pairs = tuple((int(own), int(other)) for own, other in layers)
    for own, other in pairs:
        if not (1 <= own <= student and 1 <= other <= teacher):
            raise ConfigError(
                f"layers: [{own}, {other}] is not a pair of a student layer 1 .. {student} and a teacher layer 1 .. {teacher}"
            )
    if not pairs or len({own for own, _ in pairs}) < len(pairs):
        raise ConfigError(f"layers = {[list(pair) for pair in pairs]}: give at least one pair, each student layer once")
    return pairs
