"""Verification of saved folders: a stock pipeline must give the logits that raykd reports."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from raykd.data.tokenised_set import TokenisedSet
from raykd.data.tokenizer import Text
from raykd.data.tokenizer_files import COUNTS_END_TOKENS
from raykd.errors import ModelError
from raykd.models.folders import first_line, local_folder, quiet_transformers
from raykd.models.probe import TOLERANCE, row_logits
from raykd.models.tokenizers import load_tokenizer

if TYPE_CHECKING:
    import torch

SHORTEST = 8
"""Smallest length in tokens that holds special tokens and both texts of a pair."""
ROWS = 4
"""Rows of the training set that a saved model is checked on."""
_RAISED_BY_PIPELINES = (OSError, RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, ImportError)


def verify_saved_classifier(folder: str, texts: Sequence[Text], logits: "torch.Tensor", *, sequence_length: int) -> None:
    """Compare ``logits`` ``[B, C]`` of ``texts`` with those of ``pipeline("text-classification")`` on a saved folder, in fp32.

    Raises ModelError with the largest difference when they are not the same, or when the folder does not open in a pipeline.
    """
    with local_folder(folder) as local:
        _compare(_open_pipeline(str(local), folder), texts, logits, sequence_length=sequence_length, name=folder)


def verify_trained_model(folder: str, *, base: str, rows: TokenisedSet) -> None:
    """Check that a stock pipeline reads texts for a saved folder as training did, on some of the training rows.

    ``base`` is the model that training started from: its tokenizer made ``rows``. Raises ModelError when it does not.
    """
    import torch

    tokenizer = load_tokenizer(base)
    length = max(rows.max_length, SHORTEST)
    with local_folder(folder) as local:
        classify = _open_pipeline(str(local), folder)
        for texts in _samples(rows, tokenizer, classify.model.config.model_type):
            with torch.inference_mode():
                logits = row_logits(classify.model, tokenizer, texts, sequence_length=length)
            _compare(classify, texts, logits, sequence_length=length, name=folder)


def _samples(rows: TokenisedSet, tokenizer: Any, model_type: str) -> list[list[Text]]:
    """Batches of texts: the decoded tokens of some rows, alone and in pairs."""
    ids = rows.read_group(0, ["input_ids"])["input_ids"].slice(0, ROWS).to_pylist()
    singles = [text for text in tokenizer.batch_decode(ids, skip_special_tokens=True) if text.strip()]
    pairs: list[Text] = [(first, second) for first, second in zip(singles, reversed(singles), strict=True)]
    if model_type not in COUNTS_END_TOKENS:
        pairs += [(text, "") for text in singles[:1]]
    return [[*singles], pairs] if singles else []


def _compare(classify: Any, texts: Sequence[Text], logits: "torch.Tensor", *, sequence_length: int, name: str) -> None:
    own = logits.detach().float().cpu().numpy()
    stock = _pipeline_logits(classify, texts, sequence_length=sequence_length, name=name)
    difference = np.abs(own - stock)
    if not difference.max() <= TOLERANCE * max(1.0, float(np.abs(own).max())):
        row = int(difference.max(axis=1).argmax())
        raise ModelError(
            f"a stock text-classification pipeline gives other logits for {name} than training, by up to "
            f"{difference.max():.2g} (text {texts[row]!r}); its tokenizer or config.json differs from those of the "
            "training. Use the tokenizer that the model came with"
        )


def _open_pipeline(folder: str, name: str) -> Any:
    import torch
    from transformers import pipeline

    try:
        with quiet_transformers():
            return pipeline("text-classification", model=folder, device="cpu", dtype=torch.float32)
    except _RAISED_BY_PIPELINES as error:
        raise ModelError(f"{name} does not open in a stock text-classification pipeline: {first_line(error)}") from error


def _pipeline_logits(classify: Any, texts: Sequence[Text], *, sequence_length: int, name: str) -> npt.NDArray[np.float32]:
    """Logits of a stock pipeline, one text at a time, in the order of the label ids."""
    options = {"top_k": None, "function_to_apply": "none", "truncation": True, "max_length": sequence_length}
    try:
        with quiet_transformers():
            answers = [classify(_pipeline_input(text), **options) for text in texts]
    except _RAISED_BY_PIPELINES as error:
        raise ModelError(f"{name} does not work in a stock text-classification pipeline: {first_line(error)}") from error
    ids = {name: index for index, name in classify.model.config.id2label.items()}
    logits = np.full((len(texts), len(ids)), np.nan, np.float32)
    for row, answer in enumerate(answers):
        for one in answer:
            logits[row, ids[one["label"]]] = one["score"]
    return logits


def _pipeline_input(text: Text) -> Any:
    return text if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}
