"""Small models and a tokenizer that the tests of this folder save, open and break."""

from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from raykd.models import ModelShape, build_classifier, save_classifier

LABELS = ("bad", "good")
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *("the", "film", "is", "not", "very", "good", "bad", "great", "poor", "a"),
]
SHAPE = ModelShape(vocab_size=len(WORDS), hidden=16, layers=2, heads=2, positions=32)


def small_tokenizer():
    core = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
                                   sep_token="[SEP]", mask_token="[MASK]")  # fmt: skip


def small_classifier(labels=LABELS, *, seed: int = 3, **shape):
    """A classifier of ``SHAPE``, changed by ``shape``."""
    return build_classifier(replace(SHAPE, **shape), labels=labels, seed=seed)


def save(folder: Path, architecture: str = "bert", labels=LABELS, *, seed: int = 3, **shape) -> Path:
    classifier = small_classifier(labels, seed=seed, architecture=architecture, **shape)
    save_classifier(classifier, small_tokenizer(), str(folder))
    return folder


def edit_weights(folder: Path, edit) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file(edit(load_file(file)), file, {"format": "pt"})
