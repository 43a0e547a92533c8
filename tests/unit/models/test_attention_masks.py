"""Stock classifiers use a padding mask without reading it, and compute what they computed before."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from raykd.models import use_given_masks
from raykd.models.attention_masks import IMPLEMENTATION
from tests.device_reads import DeviceReads
from tests.unit.models.architectures import ARCHITECTURES, COUNTING, pretrained

ENCODERS = ("bert", "distilbert", "electra", "roberta", "modernbert", "xlm-roberta")
LENGTHS = {"padded": (7, 3, 12), "not padded": (7, 7, 7)}


def inputs(lengths: tuple[int, ...], *, left: bool = False) -> dict[str, torch.Tensor]:
    """Rows of these lengths in one batch; the mask is left out where no row is padded, as a Batch does."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 15, (len(lengths), max(lengths)), generator=generator)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    mask = mask.flip(1) if left else mask
    return {"input_ids": torch.where(mask, ids, 0)} | ({} if mask.all() else {"attention_mask": mask.long()})


def opened(folder: Path, kind: str) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(pretrained(folder, kind)).eval()


def gradients(model: Any, given: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Logits, and the gradient of every weight."""
    model.zero_grad()
    logits = model(**given).logits
    logits.square().sum().backward()
    return [logits.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("kind", ENCODERS)
def test_the_numbers_stay_and_nothing_is_read(kind: str, lengths: tuple[int, ...], tmp_path: Path) -> None:
    model, given = opened(tmp_path, kind), inputs(lengths)
    before = gradients(model, given)
    use_given_masks(model)
    assert model.config._attn_implementation == IMPLEMENTATION
    with DeviceReads() as reads:
        after = gradients(model, given)
    assert not reads.counts
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_transformers_reads_the_mask_by_itself(tmp_path: Path) -> None:
    """Once an upgrade no longer does, this module can go."""
    model, given = opened(tmp_path, "bert"), inputs(LENGTHS["padded"])
    with DeviceReads() as reads:
        model(**given)
    assert sum(reads.counts.values()) == 1


@pytest.mark.parametrize("kind", [kind for kind in ARCHITECTURES if kind not in (*ENCODERS, *COUNTING)])
def test_other_architectures_compute_what_they_did(kind: str, tmp_path: Path) -> None:
    model, given = opened(tmp_path, kind), inputs(LENGTHS["padded"], left=kind in {"gpt2", "xlnet"})
    model.config.pad_token_id = 0
    with torch.no_grad():
        before = model(**given).logits
        use_given_masks(model)
        assert torch.equal(model(**given).logits, before)


def test_a_sliding_window_shorter_than_the_rows_is_kept(tmp_path: Path) -> None:
    folder = pretrained(tmp_path, "modernbert")
    model = AutoModelForSequenceClassification.from_pretrained(folder, local_attention=4).eval()
    given = inputs(LENGTHS["padded"])
    with torch.no_grad():
        before = model(**given).logits
        use_given_masks(model)
        with DeviceReads() as reads:
            after = model(**given).logits
        assert not reads.counts
        assert torch.equal(after, before)
        assert not torch.equal(before, opened(tmp_path, "modernbert")(**given).logits)


def test_the_saved_configuration_is_the_same(tmp_path: Path) -> None:
    model = opened(tmp_path / "model", "bert")
    model.save_pretrained(tmp_path / "before")
    use_given_masks(model)
    model.save_pretrained(tmp_path / "after")
    assert (tmp_path / "before" / "config.json").read_text() == (tmp_path / "after" / "config.json").read_text()
