"""What ``make demo`` distils: generated reviews, and a teacher and a student with random weights, all in one folder.

``python -m raykd.demo FOLDER`` writes ``train.tsv``, ``test.tsv``, ``teacher/`` and ``student/``; the same bytes every time.
"""

import logging
import re
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

from raykd.data import storage, synthetic
from raykd.errors import ConfigError
from raykd.models import build_classifier, save_classifier

log = logging.getLogger(__name__)

TRAIN_ROWS, TEST_ROWS, SEED = 8000, 2000, 7
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SHAPES = {"teacher": {"hidden": 96, "layers": 2, "heads": 4}, "student": {"hidden": 32, "layers": 2, "heads": 2}}
POSITIONS = 64
INITIALIZER_RANGE = 0.05
"""BERT's own 0.02 leaves models as narrow as these at chance for hundreds of steps."""


def build(folder: str, *, train_rows: int = TRAIN_ROWS, test_rows: int = TEST_ROWS, seed: int = SEED) -> None:
    """Write the demo's data and models. Raises ResourceError when the folder cannot be written."""
    train, _ = synthetic.write(folder, train_rows=train_rows, test_rows=test_rows, seed=seed)
    texts = (line.split("\t")[0] for line in storage.read_bytes(train).decode().splitlines())
    tokenizer = make_tokenizer(texts)
    for index, (name, shape) in enumerate(SHAPES.items()):
        model = build_classifier(
            "bert", **shape, vocab_size=len(tokenizer), labels=synthetic.LABELS, seed=seed + index, positions=POSITIONS,
            dropout=0.0, initializer_range=INITIALIZER_RANGE,
        )  # fmt: skip
        # the encoder alone, as after pretraining: each training task draws a classifier from its own seed
        save_classifier(model.base_model, tokenizer, storage.join(folder, name))


def make_tokenizer(texts: Iterable[str]) -> Any:
    """A WordPiece tokenizer that knows every word of ``texts`` whole and spells any other with their letters.

    Words are ranked by frequency, then alphabetically: the trainer of the tokenizers library breaks ties differently each time.
    """
    from transformers import BertTokenizer

    counts = Counter(word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower()))
    letters = sorted({letter for word in counts for letter in word})
    words = sorted(counts, key=lambda word: (-counts[word], word))
    tokens = dict.fromkeys([*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words])
    return BertTokenizer(vocab={token: index for index, token in enumerate(tokens)}, do_lower_case=True)


def main(arguments: list[str]) -> int:
    """The command line: one folder. Raises ConfigError for anything else."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise ConfigError(f"usage: python -m raykd.demo FOLDER (given: {' '.join(arguments) or 'nothing'})")
    build(arguments[0])
    sys.stdout.write(f"demo data and models are in {arguments[0]}\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
