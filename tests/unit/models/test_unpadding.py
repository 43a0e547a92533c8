"""Encoders without padding compute what they compute with it: logits, hidden states, gradients; whatever the lengths."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForSequenceClassification

from raykd.data.batch import Batch, collate
from raykd.errors import ModelError
from raykd.models import check_unpadded, checkpoint_activations, first_layer_input, runs_unpadded, unpad_rows, unpadding
from tests.device_reads import DeviceReads
from tests.unit.models.architectures import ARCHITECTURES, pretrained

ONE_LONG, VARIED = (40, 1, 2, 3, 1, 2, 1), (7, 3, 12)
KINDS = unpadding.UNPADDED_TYPES


def batch_of(lengths: tuple[int, ...], *, pad: int = 0, pairs: bool = False, unpadded: bool = True) -> Batch:
    generator = torch.Generator().manual_seed(sum(lengths))
    rows = [torch.randint(5, 15, (length,), generator=generator).tolist() for length in lengths]
    numbers = pa.array(range(len(rows)), pa.int64())
    columns = {"shard": numbers, "row": numbers, "input_ids": pa.array(rows, pa.list_(pa.int32()))}
    if pairs:
        types = [[int(place > length // 2) for place in range(length)] for length in lengths]
        columns["token_type_ids"] = pa.array(types, pa.list_(pa.int8()))
    table = pa.table(columns)
    return collate(table, padded_length=max(lengths) + 2, pad_token_id=pad, with_token_types=pairs, unpadded=unpadded)


def opened(folder: Path, kind: str, *, dtype: torch.dtype = torch.float64, **settings: Any) -> Any:
    """A model in fp64 by default, in which gradients that cancel out, as those of the keys' biases, are near zero."""
    return AutoModelForSequenceClassification.from_pretrained(pretrained(folder, kind), dtype=dtype, **settings).eval()


def computed(model: Any, batch: Batch) -> list[Tensor]:
    """Logits, the hidden states of all tokens, and the gradient of every weight."""
    model.zero_grad()
    output = model(**batch.model_inputs(), output_hidden_states=True)
    hidden = [state * batch.attention_mask[..., None] for state in output.hidden_states]
    (output.logits.square().sum() + sum(state.square().mean() for state in hidden)).backward()
    return [output.logits.detach(), *hidden, *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


def assert_close(found: list[Tensor], expected: list[Tensor], *, tolerance: float = 1e-5) -> None:
    for one, other in zip(found, expected, strict=True):
        largest = max(1.0, float(other.detach().abs().max()))
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * largest)


def assert_same(model: Any, lengths: tuple[int, ...], *, pairs: bool = False) -> None:
    """Compare the batch without padding with the padded one, in a model that takes both."""
    pad = model.config.pad_token_id
    padded, unpadded = (computed(model, batch_of(lengths, pad=pad, pairs=pairs, unpadded=one)) for one in (False, True))
    assert_close(unpadded, padded)


@pytest.mark.parametrize("lengths", [VARIED, ONE_LONG], ids=["varied", "one-long"])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_those_with_padding_and_nothing_is_read(kind: str, lengths: tuple[int, ...], tmp_path: Path) -> None:
    model = opened(tmp_path, kind)
    before = computed(model, batch_of(lengths, pad=model.config.pad_token_id, unpadded=False))
    unpad_rows(model)
    assert runs_unpadded(model)
    with DeviceReads() as reads:
        after = computed(model, batch_of(lengths, pad=model.config.pad_token_id))
    assert not reads.counts
    assert_close(after, before)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_in_fp32_are_those_with_padding(kind: str, tmp_path: Path) -> None:
    model = opened(tmp_path, kind, dtype=torch.float32)
    unpad_rows(model)
    batches = [batch_of(ONE_LONG, pad=model.config.pad_token_id, unpadded=one) for one in (True, False)]
    with torch.no_grad():
        assert_close(*([model(**batch.model_inputs()).logits] for batch in batches))


@pytest.fixture(scope="module", params=KINDS)
def unpadded_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = opened(tmp_path_factory.mktemp(request.param), request.param)
    unpad_rows(model)
    return model


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=9).map(tuple))
def test_numbers_are_those_with_padding_for_any_lengths(unpadded_model: Any, lengths: tuple[int, ...]) -> None:
    assert_same(unpadded_model, lengths)


def test_pairs_keep_their_token_types(tmp_path: Path) -> None:
    model = opened(tmp_path, "bert")
    unpad_rows(model)
    assert_same(model, VARIED, pairs=True)
    with torch.no_grad():
        single, pairs = (model(**batch_of(VARIED, pairs=one).model_inputs()).logits for one in (False, True))
    assert not torch.allclose(single, pairs, atol=1e-3)


def test_layers_compute_tokens_and_no_padding(unpadded_model: Any) -> None:
    shapes = []
    layers = getattr(unpadded_model.base_model, "layers", None) or next(
        one for one in unpadded_model.modules() if isinstance(one, torch.nn.ModuleList)
    )
    handle = layers[0].register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape[:2]))
    with torch.no_grad():
        unpadded_model(**batch_of(ONE_LONG, pad=unpadded_model.config.pad_token_id).model_inputs())
    handle.remove()
    assert shapes == [(1, sum(ONE_LONG))]


def test_a_gradient_at_the_embeddings_is_the_one_with_padding(unpadded_model: Any) -> None:
    """A loss on the logits, and one on the embeddings themselves, reach the tensor that the first layer has read."""
    sizes = []
    for unpadded in (True, False):
        batch = batch_of(VARIED, pad=unpadded_model.config.pad_token_id, unpadded=unpadded)
        output = unpadded_model(**batch.model_inputs(), output_hidden_states=True)
        embeddings = output.hidden_states[0] * batch.attention_mask[..., None]
        losses = [output.logits.square().sum(), embeddings.square().sum()]
        at = first_layer_input(output.hidden_states)
        sizes.append([torch.autograd.grad(loss, at, retain_graph=True)[0].norm() for loss in losses])
    assert_close(*sizes)


def test_other_rows_of_a_batch_change_nothing(unpadded_model: Any) -> None:
    first = batch_of(VARIED, pad=unpadded_model.config.pad_token_id)
    second = batch_of(VARIED, pad=unpadded_model.config.pad_token_id)
    second.input_ids[1:] = torch.where(second.attention_mask[1:].bool(), 6, second.input_ids[1:])
    with torch.no_grad():
        one, other = (unpadded_model(**batch.model_inputs()).logits for batch in (first, second))
    assert torch.equal(one[0], other[0])
    assert not torch.allclose(one[1:], other[1:], atol=1e-4)


@pytest.mark.parametrize("kind", ["roberta", "bert"])
def test_a_padding_token_inside_of_a_text_counts_as_with_padding(kind: str, tmp_path: Path) -> None:
    model = opened(tmp_path, kind)
    unpad_rows(model)
    padded, unpadded = (batch_of(VARIED, pad=model.config.pad_token_id, unpadded=one) for one in (False, True))
    with torch.no_grad():
        for batch in (padded, unpadded):
            batch.input_ids[:, 2] = model.config.pad_token_id
        one, other = (model(**batch.model_inputs()).logits for batch in (padded, unpadded))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_sliding_windows_and_mean_pooling_of_modernbert(pooling: str, tmp_path: Path) -> None:
    given_settings = {"local_attention": 4, "classifier_pooling": pooling}
    model = opened(tmp_path, "modernbert", **given_settings)
    expected = computed(model, batch_of(ONE_LONG, pad=model.config.pad_token_id, unpadded=False))
    unpad_rows(model)
    found = computed(model, batch_of(ONE_LONG, pad=model.config.pad_token_id))
    assert_close(found, expected)
    wide = opened(tmp_path, "modernbert", classifier_pooling=pooling)
    with torch.no_grad():
        unbounded = wide(**batch_of(ONE_LONG, pad=model.config.pad_token_id, unpadded=False).model_inputs()).logits
    assert not torch.allclose(unbounded, expected[0], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_activations_that_are_computed_again_give_the_same_gradients(kind: str, tmp_path: Path) -> None:
    model = opened(tmp_path, kind)
    unpad_rows(model)
    batch = batch_of(VARIED, pad=model.config.pad_token_id)
    expected = computed(model, batch)
    checkpoint_activations(model, name="model")
    model.train()  # activations are computed again in training alone
    for one in model.modules():
        if isinstance(one, torch.nn.Dropout):
            one.p = 0.0
    found = computed(model, batch)
    assert_close(found, expected)


def test_without_lengths_the_model_runs_as_with_given_masks(unpadded_model: Any) -> None:
    pad = unpadded_model.config.pad_token_id
    full = batch_of(VARIED, pad=pad)
    with torch.no_grad(), DeviceReads() as reads:
        unpadded_model(**batch_of(VARIED, pad=pad, unpadded=False).model_inputs())
        unpadded_model(input_ids=full.input_ids)
    assert not reads.counts


def by_rows(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, _: Tensor, *sizes: int, **more: Any) -> Tensor:
    """torch's kernel by its documentation: attention of each row by itself, with a window of tokens to both sides."""
    (left, right), scale = more["window_size"], more["scale"]
    assert sizes == (int(offsets.diff().max()),) * 2
    assert left == right
    found = []
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        parts = [part[start:stop].transpose(0, 1) for part in (query, key, value)]  # [A, l, D]
        places = torch.arange(stop - start)
        mask = (places[:, None] - places).abs() <= (left if left >= 0 else stop)
        found.append(scaled_dot_product_attention(*parts, attn_mask=mask, scale=scale).transpose(0, 1))
    return torch.cat(found)


@pytest.fixture
def kernel_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpadding, "kernel_takes", lambda *_: True)
    monkeypatch.setattr(unpadding, "_kernel", lambda: by_rows)


@pytest.mark.usefixtures("kernel_stand_in")
@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_gets_the_rows_and_the_window(kind: str, tmp_path: Path) -> None:
    window = {"local_attention": 4} if kind == "modernbert" else {}
    model = opened(tmp_path, kind, **window)
    unpad_rows(model)
    assert_same(model, VARIED)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: torch's kernel runs on no CPU")
@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_of_a_gpu_computes_what_padding_gives(kind: str, tmp_path: Path) -> None:
    model = opened(tmp_path, kind, dtype=torch.float32).to("cuda")
    assert unpadding.kernel_takes(torch.zeros(1, 4, 2, 8, device="cuda", dtype=torch.bfloat16), 0.0)
    pad = model.config.pad_token_id
    with torch.autocast("cuda", torch.bfloat16):
        expected = computed(model, batch_of(VARIED, pad=pad, unpadded=False).to("cuda"))
        unpad_rows(model)
        found = computed(model, batch_of(VARIED, pad=pad).to("cuda"))
    assert_close(found, expected, tolerance=5e-2)


@pytest.mark.parametrize("kind", [kind for kind in ARCHITECTURES if kind not in KINDS])
def test_other_architectures_are_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    folder = pretrained(tmp_path, kind)
    with pytest.raises(ModelError, match=rf"compute.attention = unpadded, but .* is of type {kind}; .* set .* to padded"):
        check_unpadded([folder])
    with pytest.raises(ModelError, match=f"{folder} is of type {kind};"):
        unpad_rows(AutoModelForSequenceClassification.from_pretrained(folder), name=folder)


def test_a_decoder_is_refused(tmp_path: Path) -> None:
    model = opened(tmp_path, "bert", is_decoder=True)
    with pytest.raises(ModelError, match="is a decoder of type bert"):
        unpad_rows(model)


def test_a_module_of_a_users_own_is_run_padded() -> None:
    assert not runs_unpadded(torch.nn.Linear(2, 2))


def test_the_saved_configuration_is_the_same(tmp_path: Path) -> None:
    model = opened(tmp_path / "model", "bert")
    model.save_pretrained(tmp_path / "before")
    unpad_rows(model)
    model.save_pretrained(tmp_path / "after")
    assert (tmp_path / "before" / "config.json").read_text() == (tmp_path / "after" / "config.json").read_text()
