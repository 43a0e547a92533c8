"""Prompts as token ids: those of the prompt written out, cut in the text alone."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.data.prompts import PromptTokenizer, split_fields
from raykd.data.tokenizer import Text
from raykd.errors import DataError
from tests.causal_models import byte_tokenizer

TOKENIZER = byte_tokenizer(pad=True)
TEXTS = st.text(max_size=30)


def make(prompt: str, **settings: Any) -> PromptTokenizer:
    literals, fields = split_fields(prompt, ("{text}", "{text_pair}"))
    given_settings: dict[str, Any] = {"truncation_side": "right", **settings}
    return PromptTokenizer(
        backend=TOKENIZER.backend_tokenizer.to_str(), has_token_types=False, pad_token_id=1, padding_side="left",
        literals=literals, fields=fields, **given_settings,
    )  # fmt: skip


def rows(tokenizer: PromptTokenizer, texts: list[Text], length: int = 1000) -> list[list[int]]:
    encoded = tokenizer.encode(texts, sequence_length=length)
    assert encoded.lengths.tolist() == [len(one) for one in encoded.input_ids.to_pylist()]
    return encoded.input_ids.to_pylist()


@given(st.lists(TEXTS, min_size=1, max_size=4))
@settings(max_examples=30)
def test_tokens_are_those_of_the_written_prompt(texts: list[str]) -> None:
    found = rows(make("Review: {text}\nSentiment {x}:"), list(texts))
    assert found == [TOKENIZER(f"Review: {text}\nSentiment {{x}}:").input_ids for text in texts]
    pairs = rows(make("{text_pair} | {text}.", leading_ids=(0,)), [(text, text[::-1]) for text in texts])
    assert pairs == [[0, *TOKENIZER(f"{text[::-1]} | {text}.").input_ids] for text in texts]


@given(TEXTS, TEXTS, st.integers(0, 12), st.sampled_from(["left", "right"]))
@settings(max_examples=60)
def test_only_the_texts_are_cut(first: str, second: str, limit: int, side: str) -> None:
    """Cut at a token, at the tokenizer's side; of a pair the longer text first."""
    tokenizer = make("Instruction: {text} / {text_pair}\nAnswer:", truncation_side=side)
    (ids,) = rows(tokenizer, [(first, second)], limit)
    written = TOKENIZER.decode(ids)
    assert written.startswith("Instruction: ")
    assert written.endswith("\nAnswer:")
    lengths = [len(TOKENIZER(text).input_ids) for text in (first, second)]
    if sum(lengths) <= limit:
        assert ids == TOKENIZER(f"Instruction: {first} / {second}\nAnswer:").input_ids
    whole = make("Instruction: {text} / {text_pair}\nAnswer:")
    assert len(ids) <= len(rows(whole, [("", "")])[0]) + limit + 6, "a cut character keeps its bytes, and merges may break"


@given(st.text(max_size=200), st.integers(0, 40))
@settings(max_examples=60)
def test_a_prompt_fits_the_model(text: str, spare: int) -> None:
    bare = make("Instruction: {text}\nAnswer:")
    limit = len(bare.prompt_ids("")) + spare
    tokenizer = make("Instruction: {text}\nAnswer:", max_tokens=limit)
    (ids,) = rows(tokenizer, [text])
    assert len(ids) <= limit
    assert TOKENIZER.decode(ids).startswith("Instruction: ")
    assert TOKENIZER.decode(ids).endswith("\nAnswer:")
    with pytest.raises(DataError, match=rf"the prompt alone has \d+ tokens, and the model takes {limit - spare - 1}"):
        rows(make("Instruction: {text}\nAnswer:", max_tokens=limit - spare - 1), [text])


def test_another_prompt_is_another_tokenizer() -> None:
    names = {make(prompt).fingerprint for prompt in ("{text}", "{text} ", "{text}{text}")}
    assert len(names | {make("{text}", max_tokens=9).fingerprint, make("{text}", leading_ids=(0,)).fingerprint}) == 5
