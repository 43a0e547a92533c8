"""The promise of a saved folder: a stock pipeline gives the logits that raykd reported."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from raykd.data.tokenizer import Text
from raykd.errors import ModelError
from raykd.models.folders import local_folder, quiet_transformers
from raykd.models.probe import TOLERANCE

if TYPE_CHECKING:
    import torch


def verify_saved_classifier(folder: str, texts: Sequence[Text], logits: "torch.Tensor", *, sequence_length: int) -> None:
    """Compare ``logits`` ``[B, C]`` of ``texts`` with those of ``pipeline("text-classification")`` on a saved folder, in fp32.

    Raises ModelError with the largest difference when they are not the same, or when the folder does not open in a pipeline.
    """
    own = logits.detach().float().cpu().numpy()
    with local_folder(folder) as local:
        stock = _pipeline_logits(str(local), texts, sequence_length=sequence_length, name=folder)
    difference = np.abs(own - stock)
    if not difference.max() <= TOLERANCE * max(1.0, float(np.abs(own).max())):
        row = int(difference.max(axis=1).argmax())
        raise ModelError(
            f"a stock text-classification pipeline gives other logits for {folder} than training, by up to "
            f"{difference.max():.2g} (text {texts[row]!r}); its tokenizer and config.json do not say how the model was "
            "trained. Use the tokenizer that the model came with"
        )


def _pipeline_logits(folder: str, texts: Sequence[Text], *, sequence_length: int, name: str) -> npt.NDArray[np.float32]:
    """Logits of a stock pipeline, one text at a time, in the order of the label ids."""
    import torch
    from transformers import pipeline

    try:
        with quiet_transformers():
            classify = pipeline("text-classification", model=folder, device="cpu", dtype=torch.float32)
            options = {"top_k": None, "function_to_apply": "none", "truncation": True, "max_length": sequence_length}
            answers = [classify(_pipeline_input(text), **options) for text in texts]
    except (OSError, RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, ImportError) as error:
        raise ModelError(f"{name} does not work in a stock text-classification pipeline: {error}") from error
    ids = classify.model.config.label2id
    logits = np.full((len(texts), len(ids)), np.nan, np.float32)
    for row, answer in enumerate(answers):
        for one in answer:
            logits[row, ids[one["label"]]] = one["score"]
    return logits


def _pipeline_input(text: Text) -> Any:
    return text if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}
