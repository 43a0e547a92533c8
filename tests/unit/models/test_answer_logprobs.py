"""Log-probabilities of answers in padded batches with reused states against one plain pass for each prompt and answer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.errors import ModelError
from raykd.models.answer_logprobs import AnswerLogprobs
from tests.causal_models import Kind, answer_logprob, causal_model

VOCABULARY = 60
MODELS = {kind: causal_model(kind, VOCABULARY) for kind in ("gpt2", "llama", "mistral", "bloom")}
TOKENS = st.integers(0, VOCABULARY - 1)
ANSWERS = st.lists(st.lists(TOKENS, min_size=1, max_size=4).map(tuple), min_size=2, max_size=4, unique=True)


def padded(prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts padded on the left."""
    width = max(map(len, prompts))
    ids = torch.tensor([[3] * (width - len(one)) + one for one in prompts])
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts])
    return ids, mask


@pytest.mark.parametrize("kind", sorted(MODELS))
@given(
    prefix=st.lists(TOKENS, max_size=12),
    rests=st.lists(st.lists(TOKENS, min_size=1, max_size=9), min_size=1, max_size=4),
    answers=ANSWERS,
)
@settings(max_examples=12)
def test_batches_with_reused_states_equal_plain_passes(
    kind: Kind, prefix: list[int], rests: list[list[int]], answers: list[tuple[int, ...]]
) -> None:
    model, prompts = MODELS[kind], [prefix + rest for rest in rests]
    expected = torch.tensor([[answer_logprob(model, one, list(answer)) for answer in answers] for one in prompts])
    for reuse in (True, False) if kind != "mistral" else (False,):
        scored = AnswerLogprobs(model, answers, reuse=reuse)
        with torch.inference_mode():
            found = scored(*padded(prompts), scored.prefix(prefix))
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bloom"])
def test_states_are_reused_where_a_trial_gives_the_same_answers(kind: Kind) -> None:
    assert AnswerLogprobs(MODELS[kind], [[5], [6, 7]]).reuse


@pytest.mark.parametrize("kind", ["mamba", "mistral"])
def test_models_with_other_states_read_whole_prompts(kind: Kind) -> None:
    """The recurrent states of mamba, and the sliding window of this mistral."""
    scored = AnswerLogprobs(causal_model(kind, VOCABULARY), [[5], [6, 7]])
    assert not scored.reuse
    assert scored.prefix([1, 2, 3]) is None


def test_a_model_that_reads_padding_is_refused() -> None:
    model = causal_model("gpt2", VOCABULARY)
    original = model.forward
    model.forward = lambda input_ids, attention_mask, **_: original(input_ids=input_ids)
    with pytest.raises(ModelError, match="gives other logits for a prompt that is padded on the left"):
        AnswerLogprobs(model, [[5], [6, 7]])
