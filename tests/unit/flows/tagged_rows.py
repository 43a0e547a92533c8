"""Rows with any number of labels, and models whose head is new."""

import numpy as np

from tests.conftest import FILLERS, WORDS

LABELS = ("happy", "sad", "cinema")
TELLING = {"happy": WORDS["1"], "sad": WORDS["0"], "cinema": ("plot", "film", "scene")}


def write_tagged_rows(path, count, seed):
    """Ten words a row, two of them for each label that it has; a row may have none."""
    draw = np.random.default_rng(seed)
    neutral = [word for word in FILLERS if word not in TELLING["cinema"]]
    lines = []
    for _ in range(count):
        labels = [label for label in LABELS if draw.random() < 0.5]
        words = [str(word) for label in labels for word in draw.choice(TELLING[label], size=2)]
        words += [str(word) for word in draw.choice(neutral, size=10 - len(words))]
        draw.shuffle(words)
        lines.append(f"{' '.join(words)}\t{','.join(labels)}\n")
    path.write_text("".join(lines))
    return str(path)


def save_headless(save_model, folder):
    """The model as it comes from pretraining: its head is new for every number of labels."""
    from transformers import AutoTokenizer, BertModel

    path = save_model(folder / "full", hidden=32, layers=1)
    BertModel.from_pretrained(path).save_pretrained(folder / "encoder")
    AutoTokenizer.from_pretrained(path).save_pretrained(folder / "encoder")
    return str(folder / "encoder")
