"""Augmented views: deterministic, different from their row, the same rows under every tokenizer."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.data.join_sets import join_sets
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.tokenised_set import TokenisedSet
from raykd.data.tokenizer import Text
from raykd.data.views import View, ViewSettings, Words
from raykd.errors import ModelError

SETTINGS = ViewSettings(views=6, mask=0.3, drop=0.2, ngram=0.3, seed=1)
SENTENCE = st.lists(st.sampled_from("abcdefg"), max_size=9).map(" ".join)
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "book", "a", "b", "c")


@dataclass(frozen=True)
class Shout:
    """Puts one word in every gap, numbered by a draw."""

    @property
    def identity(self) -> dict[str, Any]:
        return {"shout": 1}

    def fill(self, texts: Sequence[Words], draws: Sequence[random.Random]) -> list[Words]:
        assert all(None in text for text in texts)
        return [
            tuple(word or f"WORD{int(draw.random() * 9)}" for word in text) for text, draw in zip(texts, draws, strict=True)
        ]


def is_subsequence(words: Words, of: Sequence[str]) -> bool:
    """True when every word, or any for a masked one, occurs in order."""
    position = 0
    for word in words:
        while position < len(of) and word is not None and of[position] != word:
            position += 1
        position += 1
    return position <= len(of)


@given(st.lists(st.one_of(SENTENCE, st.tuples(SENTENCE, SENTENCE)), max_size=4), st.integers(0, 3))
def test_views_are_parts_of_their_row_and_differ_from_it(texts: list[Text], seed: int) -> None:
    settings = replace(SETTINGS, seed=seed)
    names = [(0, row) for row in range(len(texts))]
    views = list(settings.of(texts, names))
    assert len(set(views)) == len(views)
    for view in views:
        text = texts[view.row]
        originals = [tuple(one.split()) for one in ([text] if isinstance(text, str) else text)]
        assert len(originals) == len(view.texts)
        changed = [words != original for words, original in zip(view.texts, originals, strict=True)]
        assert sum(changed) == 1, "one text of a pair"
        assert 0 <= view.number < settings.views
        for words, original in zip(view.texts, originals, strict=True):
            assert is_subsequence(words, original)
            assert any(words) or not original
    alone = [view._replace(row=row) for row, text in enumerate(texts) for view in settings.of([text], [names[row]])]
    assert alone == views, "a view does not depend on the rows beside it"


def test_another_seed_or_row_gives_other_views() -> None:
    text = "a b c d e f g a b c d e f g"
    seen = [
        [view.texts for view in settings.of([text], [name])]
        for settings, name in ((SETTINGS, (0, 0)), (replace(SETTINGS, seed=2), (0, 0)), (SETTINGS, (0, 1)), (SETTINGS, (1, 0)))
    ]
    assert all(seen[0] != other for other in seen[1:])


def test_probabilities() -> None:
    text = " ".join(map(str, range(2000)))
    (masked,) = ViewSettings(views=1, mask=0.3, drop=0.0, ngram=0.0, seed=1).of([text], [(0, 0)])
    assert len(masked.texts[0]) == 2000
    assert masked.texts[0].count(None) == pytest.approx(600, abs=90)
    (dropped,) = ViewSettings(views=1, mask=0.0, drop=0.3, ngram=0.0, seed=1).of([text], [(0, 0)])
    assert len(dropped.texts[0]) == pytest.approx(1400, abs=90)
    short = [view.texts[0] for view in ViewSettings(views=99, mask=0.0, drop=0.0, ngram=1.0, seed=1).of([text], [(0, 0)])]
    assert {len(words) for words in short} == {1, 2, 3, 4, 5}
    assert all(
        [int(word or 0) for word in words] == list(range(int(words[0] or 0), int(words[0] or 0) + len(words)))
        for words in short
    )


def test_a_filler_replaces_masked_words() -> None:
    settings = ViewSettings(views=5, mask=0.5, drop=0.0, ngram=0.0, seed=1)
    pair: Text = ("a b c d", "e f g h")
    masked = {view.number: view for view in settings.of([pair], [(0, 0)])}
    filled = list(replace(settings, filler=Shout()).of([pair], [(0, 0)]))
    assert filled
    for view in filled:
        for words, before in zip(view.texts, masked[view.number].texts, strict=True):
            assert all(word == old if old else str(word).startswith("WORD") for word, old in zip(words, before, strict=True))


def test_the_text_of_a_view() -> None:
    assert View(0, 0, (("a", None),)).text("<mask>") == "a <mask>"
    assert View(0, 0, (("a", None), ())).text("<mask>") == ("a <mask>", "")


@pytest.fixture
def with_mask(spec: PrepareSpec, make_tokenizer: Callable[..., str], tmp_path: Path) -> PrepareSpec:
    (tmp_path / "rows.tsv").write_text("good film a b c\tpos\nbad book a b\tneg\nc\tneg\n")
    return replace(spec, tokenizer=make_tokenizer("masks", words=WORDS, mask_token="[MASK]"))


def views_spec(spec: PrepareSpec) -> PrepareSpec:
    return replace(spec, label=None, codec=None, views=SETTINGS)


def rows_of(prepared: TokenisedSet) -> dict[tuple[int, int], list[int]]:
    table = prepared.read_group(0)
    names = zip(table["shard"].to_pylist(), table["row"].to_pylist(), strict=True)
    return dict(zip(names, table["input_ids"].to_pylist(), strict=True))


def test_prepared_views_are_rows_of_their_own(with_mask: PrepareSpec, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    whole, views = prepare(with_mask, cache), prepare(views_spec(with_mask), cache)
    rows = rows_of(views)
    assert len(rows) == views.num_rows > 6
    assert {row for _, row in rows} == {0, 1}, "a row of one word has no other view"
    assert {shard for shard, _ in rows} <= set(range(6))
    assert len(views.sources) == 6
    assert any(4 in tokens for tokens in rows.values()), "mask tokens"
    assert "label" not in views.column_names
    joined = join_sets([whole, views], labelled=1)
    names = [
        name for group in range(2) for name in zip(*map(list, joined.read_group(group, ["shard", "row"]).columns), strict=True)
    ]
    assert len(set(names)) == joined.num_rows
    again = prepare(views_spec(with_mask), str(tmp_path / "other-cache"))
    assert rows_of(again) == rows
    assert again.fingerprint == views.fingerprint


def test_another_tokenizer_has_the_same_views(
    with_mask: PrepareSpec, make_tokenizer: Callable[..., str], tmp_path: Path
) -> None:
    other_words = tuple("<mask>" if word == "[MASK]" else word for word in WORDS[::-1])
    other = make_tokenizer("other", words=other_words, mask_token="<mask>")
    cache = str(tmp_path / "cache")
    first, second = prepare(views_spec(with_mask), cache), prepare(views_spec(replace(with_mask, tokenizer=other)), cache)
    assert first.rows_fingerprint == second.rows_fingerprint
    assert list(rows_of(first)) == list(rows_of(second))
    masked = [name for name, tokens in rows_of(first).items() if WORDS.index("[MASK]") in tokens]
    assert masked == [name for name, tokens in rows_of(second).items() if other_words.index("<mask>") in tokens]


def test_no_view_is_a_text_of_a_test_set(with_mask: PrepareSpec, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    short = replace(views_spec(with_mask), views=ViewSettings(views=60, mask=0.0, drop=0.2, ngram=0.8, seed=1))
    views = prepare(short, cache)
    (tmp_path / "test.tsv").write_text("c\tpos\nBAD book\tneg\na b\tneg\ngood\tneg\n")
    test = prepare(replace(with_mask, files=(str(tmp_path / "test.tsv"),)), cache)
    kept = prepare(replace(short, exclude=(test.path,)), cache)
    refused = {tuple(tokens) for tokens in rows_of(test).values()}
    assert any(tuple(tokens) in refused for tokens in rows_of(views).values())
    assert not any(tuple(tokens) in refused for tokens in rows_of(kept).values())


def test_a_tokenizer_without_a_mask_token(spec: PrepareSpec, make_tokenizer: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("good film\tpos\n")
    plain = replace(spec, tokenizer=make_tokenizer("plain", mask_token=None))
    with pytest.raises(ModelError, match=r"reads no mask token in a text; set augment\.mask to 0"):
        prepare(views_spec(plain), str(tmp_path / "cache"))
    unmasked = replace(views_spec(plain), views=replace(SETTINGS, mask=0.0))
    assert prepare(unmasked, str(tmp_path / "cache")).num_rows
