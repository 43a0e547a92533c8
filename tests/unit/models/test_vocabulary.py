"""Reduced vocabularies: every text can still be encoded, and texts of kept tokens are encoded as before."""

from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import transformers as hf
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from raykd.data.tokenizer import RowTokenizer
from raykd.errors import ModelError
from raykd.models.vocabulary import (
    check_reducible,
    count_tokens,
    count_tokens_of_texts,
    read_kept_tokens,
    save_vocabulary,
    tokens_to_keep,
)
from tests.unit.models.architectures import byte_level
from tests.unit.models.spelling_tokenizers import LETTERS, PIECES, USED, spelling_unigram, spelling_wordpiece

BUILD = {
    "WordPiece": spelling_wordpiece,
    "Unigram": spelling_unigram,
    "Unigram with bytes": lambda: spelling_unigram(byte_fallback=True),
}
KINDS = tuple(BUILD)


def bert_config(tokenizer: Any, **values: Any) -> Any:
    return hf.BertConfig(**{"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **values})


@cache
def reduced(kind: str) -> tuple[Any, Any, tuple[int, ...]]:
    """A tokenizer, the one that a text leaves of it, and the kept ids."""
    old = BUILD[kind]()
    config = bert_config(old)
    check_reducible(old, config, name="large")
    kept = tokens_to_keep(old, config, count_tokens_of_texts(old, [USED], len(old)), min_count=1)
    folder = mkdtemp(prefix="raykd-test-")
    save_vocabulary(old, kept, folder, name="large")
    assert read_kept_tokens(folder).tolist() == kept.tolist()
    return old, hf.AutoTokenizer.from_pretrained(folder), tuple(kept.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_unused_tokens_are_dropped_and_needed_ones_stay(kind):
    old, new, kept = reduced(kind)
    dropped = {token for token, index in old.get_vocab().items() if index not in kept}
    assert {piece for piece in dropped if "good" in piece}
    assert not dropped & set(LETTERS)
    assert not dropped & set(old.all_special_tokens)
    assert not dropped & {"<tag>", "naïve", "qqq", "<0x41>"}, "added, not to be spelled, lowest score, byte"
    assert new.get_vocab() == {token: kept.index(old.convert_tokens_to_ids(token)) for token in new.get_vocab()}
    assert new.special_tokens_map == old.special_tokens_map
    assert new.pad_token_id == kept.index(old.pad_token_id)


TEXTS = st.one_of(
    st.text(),
    st.text(alphabet=LETTERS + " "),
    st.lists(st.sampled_from([*PIECES, *USED.split(), "naïve", "the<tag>", "[SEP]", "🙂", "日"]), max_size=12).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
)


@pytest.mark.parametrize("kind", KINDS)
@given(first=TEXTS, second=TEXTS, pair=st.booleans())
def test_every_text_is_encoded_and_kept_pieces_as_before(kind, first, second, pair):
    old, new, kept = reduced(kind)
    texts = (first, second) if pair else (first,)
    before, after = old(*texts), new(*texts)
    if set(before["input_ids"]) <= set(kept):
        assert [kept[index] for index in after["input_ids"]] == before["input_ids"]
        assert after["attention_mask"] == before["attention_mask"]
    if old.unk_token_id not in before["input_ids"] and "naïve" not in first + second:
        assert new.unk_token_id not in after["input_ids"], "letters spell what has no piece"


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_tokenised_by_the_new_ids(kind):
    old, new, kept = reduced(kind)
    before, after = (
        RowTokenizer.take(one, model_type="bert").encode([USED, ("the film", "plot")], sequence_length=64) for one in (old, new)
    )
    assert [kept[index] for index in after.input_ids.flatten().to_pylist()] == before.input_ids.flatten().to_pylist()


def test_all_ids_up_to_the_padding_token_stay_where_positions_start_after_it():
    old = spelling_wordpiece()
    config = hf.RobertaConfig(vocab_size=len(old), pad_token_id=old.pad_token_id)
    none = np.zeros(len(old), np.int64)
    kept = tokens_to_keep(old, config, none, min_count=1)
    assert kept.tolist()[: old.pad_token_id + 1] == list(range(old.pad_token_id + 1))
    assert 0 not in tokens_to_keep(old, bert_config(old), none, min_count=1), "BERT counts positions from the row's begin"


def test_min_count_and_ids_of_the_configuration():
    old = spelling_wordpiece()
    counts = count_tokens_of_texts(old, ["good good plot"] * 1500, len(old))
    good, plot, lovely = old.convert_tokens_to_ids(["good", "plot", "lovely"])
    assert (counts[good], counts[plot], counts[lovely]) == (3000, 1500, 0)
    kept = tokens_to_keep(old, bert_config(old, eos_token_id=lovely), counts, min_count=1501)
    assert {good, lovely} <= set(kept.tolist())
    assert plot not in kept


def test_counts_of_tokenised_rows(tmp_path):
    from raykd.data.prepare import prepare
    from raykd.data.prepare_spec import PrepareSpec

    tokenizer = spelling_wordpiece()
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    texts = ["the film", "good plot", "the the"]
    (tmp_path / "rows.tsv").write_text("".join(f"{text}\n" for text in texts))
    spec = PrepareSpec(files=(str(tmp_path / "rows.tsv"),), input_schema="text:str:1", first_sequence="text",
                       second_sequence=None, label=None, codec=None, skip_header=False, sequence_length=3,
                       max_rejected_rows=0, tokenizer=str(tmp_path / "tokenizer"), keep=None)  # fmt: skip
    rows = prepare(spec, str(tmp_path / "cache"))
    counts = count_tokens([rows, rows], len(tokenizer))
    one = Counter(index for text in texts for index in tokenizer(text, truncation=True, max_length=3)["input_ids"])
    assert {index: count for index, count in enumerate(counts.tolist()) if count} == {
        index: 2 * count for index, count in one.items()
    }


def test_other_vocabularies_are_refused_with_the_reason():
    tokenizer = byte_level("roberta")
    with pytest.raises(
        ModelError, match="the vocabulary of large is BPE and cannot be reduced: BPE builds each token by merging"
    ):
        check_reducible(tokenizer, bert_config(tokenizer), name="large")
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[UNK]")
    with pytest.raises(ModelError, match="a WordLevel vocabulary has no shorter pieces"):
        check_reducible(tokenizer, bert_config(tokenizer), name="large")
    without = Tokenizer(models.WordPiece({"a": 0, "b": 1, "[PAD]": 2}, unk_token="[UNK]"))
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=without, pad_token="[PAD]")
    with pytest.raises(ModelError, match="no unknown token in its vocabulary"):
        check_reducible(tokenizer, bert_config(tokenizer), name="large")


def test_a_special_token_outside_the_table_is_refused():
    old = spelling_wordpiece()
    with pytest.raises(ModelError, match=r"large has sep_token_id = 50282, but its embedding table has \d+ rows: .* lose that"):
        check_reducible(old, bert_config(old, sep_token_id=50282), name="large")
    small = SimpleNamespace(vocab_size=3, to_dict=dict)
    with pytest.raises(ModelError, match="would lose that special token"):
        check_reducible(old, small, name="large")


def test_a_model_that_does_not_know_its_padding_token_is_refused():
    old = spelling_wordpiece()
    config = hf.RobertaConfig(vocab_size=len(old), pad_token_id=None)
    with pytest.raises(ModelError, match=r"pad_token_id = None, but a roberta model counts positions from that token; set"):
        check_reducible(old, config, name="large")


def test_a_tokenizer_that_transformers_reads_otherwise_is_refused(tmp_path, monkeypatch):
    old = spelling_wordpiece()
    kept = tokens_to_keep(old, bert_config(old), np.zeros(len(old), np.int64), min_count=1)
    monkeypatch.setattr("raykd.models.vocabulary.open_tokenizer", lambda *_, **__: old)
    with pytest.raises(ModelError, match="does not read the reduced tokenizer of large as it was written"):
        save_vocabulary(old, kept, str(tmp_path), name="large")


def test_real_vocabulary_loses_tokens_and_encodes_as_before(shared_models, shared_data, tmp_path):
    old = hf.AutoTokenizer.from_pretrained(shared_models / "minilm-l6")
    texts = [line.split("\t")[0] for line in Path(shared_data, "sst2", "dev.tsv").read_text().splitlines()[:600]]
    config = bert_config(old)
    counts = count_tokens_of_texts(old, texts[:300], len(old))
    kept = tokens_to_keep(old, config, counts, min_count=1)
    save_vocabulary(old, kept, str(tmp_path), name="minilm")
    new = hf.AutoTokenizer.from_pretrained(tmp_path)
    assert len(new) == len(kept) < 6000
    assert [[int(kept[index]) for index in ids] for ids in new(texts[:300])["input_ids"]] == old(texts[:300])["input_ids"]
    unknown = [sum(ids.count(one.unk_token_id) for ids in one(texts[300:])["input_ids"]) for one in (old, new)]
    assert unknown[0] == unknown[1]
