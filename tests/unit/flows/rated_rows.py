"""Rows with a number as their label."""

from pathlib import Path

import numpy as np

from tests.conftest import FILLERS, WORDS


def write_rated_rows(path: Path, count: int, seed: int) -> str:
    """Ten words a row; the label is the number of happy words less that of sad ones, in tenths."""
    draw = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        happy = int(draw.integers(0, 7))
        words = [str(word) for word in draw.choice(WORDS["1"], happy)] + [
            str(word) for word in draw.choice(WORDS["0"], 6 - happy)
        ]
        words += [str(word) for word in draw.choice(FILLERS, 4)]
        draw.shuffle(words)
        lines.append(f"{' '.join(words)}\t{(2 * happy - 6) / 10}\n")
    path.write_text("".join(lines))
    return str(path)
