"""Forward and backward pass on a few real rows: unusable models are found before anything is trained."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from raykd.data.tokenizer import RowTokenizer, Text
from raykd.errors import ModelError
from raykd.models.activation_checkpointing import checkpoint_activations
from raykd.models.classifiers import load_classifier
from raykd.models.folders import first_line
from raykd.models.inputs import check_sequence_length, max_sequence_length, takes_token_types
from raykd.models.tokenizers import load_tokenizer

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

PROBE_ROWS = 8
"""Rows that a model is run on before anything is trained."""
TOLERANCE = 1e-3
"""Difference of a logit, as a fraction of the largest one (at least 1), above which two ways to feed a row are not the same:
sums in another order differ by a thousandth of that."""


def probe_classifier(
    model: str,
    rows: Sequence[Text],
    *,
    labels: Sequence[str],
    sequence_length: int,
    train: bool = True,
    gradient_checkpointing: bool = False,
    name: str = "",
) -> None:
    """Run a model folder on ``rows`` (a few, of different lengths) as training does, and backward where it is to be trained.

    Raises ModelError: the model does not open, lacks a package, cannot take the rows, gives logits of another shape or that are
    not finite, gives other logits when a row is padded, or has no gradient. Raises ConfigError for ``gradient_checkpointing``
    of a model that does not support it. ``name`` stands for a model in a temporary folder in these messages.
    """
    import torch

    if not rows:  # preparing names the reason
        return
    name = name or model
    with torch.random.fork_rng(devices=[]), _raise_model_errors(name):
        tokenizer = load_tokenizer(model)
        torch.manual_seed(0)  # a new head is drawn here; the run draws its own
        classifier = load_classifier(model, labels=labels, new_head=train)
        check_sequence_length(classifier.config, sequence_length, model=name)
        if gradient_checkpointing:
            checkpoint_activations(classifier, name=name)
        with torch.set_grad_enabled(train):
            together = row_logits(classifier, tokenizer, rows, sequence_length=sequence_length)
        _check_logits(together, len(rows), len(labels), name)
        with torch.inference_mode():
            alone = [row_logits(classifier, tokenizer, [row], sequence_length=sequence_length) for row in rows]
        _check_padding(together.detach(), torch.cat(alone), name, classifier.config.model_type)
        if train:
            torch.autograd.backward(together.square().sum())
            _check_gradient(classifier, name)


def row_logits(classifier: "PreTrainedModel", tokenizer: Any, rows: Sequence[Text], *, sequence_length: int) -> "torch.Tensor":
    """Logits ``[B, C]`` float32 of ``rows`` as one batch, fed as training and scoring feed them."""
    import pyarrow as pa
    import torch

    from raykd.data.batch import collate

    row_tokenizer = RowTokenizer.take(tokenizer, model_type=classifier.config.model_type)
    encoded = row_tokenizer.encode(rows, sequence_length=sequence_length)
    numbers = pa.array(range(len(rows)), pa.int64())
    columns = {"shard": numbers, "row": numbers, "input_ids": encoded.input_ids}
    if encoded.token_type_ids is not None:
        columns["token_type_ids"] = encoded.token_type_ids
    limit = max_sequence_length(classifier.config)
    length = max(1, int(encoded.lengths.max()))
    batch = collate(
        pa.table(columns),
        padded_length=length if limit is None else min(length, limit),
        pad_token_id=row_tokenizer.pad_token_id,
        padding_side=row_tokenizer.padding_side,
        with_token_types=takes_token_types(classifier),
    )
    logits: torch.Tensor = classifier(**batch.model_inputs()).logits.float()
    return logits


@contextmanager
def _raise_model_errors(model: str) -> Iterator[None]:
    """Convert the errors of a model's code into ModelError."""
    try:
        yield
    except ImportError as error:
        raise ModelError(f"{model} needs a package that is not installed: {first_line(error)}; install it") from error
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError, OSError) as error:
        raise ModelError(
            f"{model} cannot classify the first rows ({type(error).__name__}: {first_line(error)}); take another model, or "
            "mend its config.json and tokenizer"
        ) from error


def _check_logits(logits: "torch.Tensor", rows: int, labels: int, model: str) -> None:
    if tuple(logits.shape) != (rows, labels):
        raise ModelError(
            f"{model} gives logits of shape {list(logits.shape)} for {rows} rows and {labels} labels; take a sequence "
            "classifier"
        )
    if not logits.isfinite().all():
        raise ModelError(f"{model} gives logits that are not finite in fp32 on the first rows; its weights are broken")


def _check_padding(together: "torch.Tensor", alone: "torch.Tensor", model: str, kind: str) -> None:
    difference = float((together - alone).abs().max())
    if difference > TOLERANCE * max(1.0, float(alone.abs().max())):
        raise ModelError(
            f"the logits of {model} ({kind}) change by up to {difference:.2g} when a row is padded to the length of its batch: "
            "the model reads padding, and would give other answers when it is served; take another model"
        )


def _check_gradient(classifier: "nn.Module", model: str) -> None:
    gradients = [parameter.grad for parameter in classifier.parameters() if parameter.grad is not None]
    if not gradients or not any(bool(gradient.any()) for gradient in gradients):
        raise ModelError(f"{model} has no gradient on the first rows; it cannot be trained")
    if not all(bool(gradient.isfinite().all()) for gradient in gradients):
        raise ModelError(f"{model} has a gradient that is not finite on the first rows; its weights are broken")
