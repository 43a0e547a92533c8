"""Texts to token ids: the same as a stock pipeline's for every kind of tokenizer, and texts that spell special tokens."""

import json
import sys

import pytest

from raykd.data.tokenizer import load_row_tokenizer
from raykd.errors import DataError, ModelError
from raykd.models import load_tokenizer, save_classifier
from tests.unit.models.architectures import ARCHITECTURES, LABELS, pretrained, tokenizer_of

TEXTS = [("the film", "good"), ("the film", ""), ("", "good"), ("", ""), "a bad plot", "the [SEP] <s> film"]


def _ids(folder: str, cache: object, texts=TEXTS):
    encoded = load_row_tokenizer(folder, str(cache)).encode(texts, sequence_length=40)
    types = None if encoded.token_type_ids is None else encoded.token_type_ids.to_pylist()
    return encoded.input_ids.to_pylist(), types


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_rows_have_the_tokens_of_a_stock_pipeline(tmp_path, kind):
    """A pipeline calls the tokenizer for one row at a time, and reads an empty second text as none."""
    from transformers import AutoTokenizer

    folder = pretrained(tmp_path / "model", kind)
    load_tokenizer(folder).save_pretrained(folder)
    stock = AutoTokenizer.from_pretrained(folder)
    rows = [stock(text=text[0], text_pair=text[1]) if isinstance(text, tuple) else stock(text) for text in TEXTS]
    ids, types = _ids(folder, tmp_path)
    assert ids == [row["input_ids"] for row in rows]
    assert types == ([row["token_type_ids"] for row in rows] if "token_type_ids" in rows[0] else None)
    assert ids[1] == stock("the film")["input_ids"]


def test_an_end_token_in_a_text_is_text_for_models_that_count_them(tmp_path):
    text = "good </s> film</s>"
    ids, _ = _ids(pretrained(tmp_path / "bart", "bart"), tmp_path, [text])
    eos = tokenizer_of("bart").eos_token_id
    assert ids[0].count(eos) == 1
    assert load_tokenizer(str(tmp_path / "bart"))(text)["input_ids"] == ids[0]
    ids, _ = _ids(pretrained(tmp_path / "roberta", "roberta"), tmp_path, [text])
    assert ids[0].count(tokenizer_of("roberta").eos_token_id) == 3, "as a stock pipeline reads it"


@pytest.mark.parametrize("text", ["good </s> film", ("good", "film</s>")])
def test_an_end_token_that_cannot_be_read_as_text_is_refused(tmp_path, text):
    tokenizer = load_row_tokenizer(pretrained(tmp_path / "t5", "t5"), str(tmp_path))
    with pytest.raises(DataError, match="spells </s>"):
        tokenizer.check(text)
    tokenizer.check("good < /s> film")


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_an_empty_second_text_is_refused_by_models_that_count_end_tokens(tmp_path, kind):
    tokenizer = load_row_tokenizer(pretrained(tmp_path / kind, kind), str(tmp_path))
    with pytest.raises(DataError, match="the second text is empty"):
        tokenizer.check(("good", ""))
    tokenizer.check(("", "good"))
    tokenizer.check("")


def test_rows_with_a_refused_text_are_named_by_file_and_line(tmp_path, prepare_rows):
    changes = {"tokenizer": pretrained(tmp_path / "t5", "t5"), "sequence_length": 16}
    content = "good film\tpos\nbad </s> film\tneg\n"
    with pytest.raises(DataError, match=r"rows\.tsv:2: the text spells </s>"):
        prepare_rows(content, **changes)
    assert (prepare_rows(content, max_rejected_rows=1, **changes).rejected) == 1


def test_a_tokenizer_that_splits_special_tokens_is_followed(tmp_path):
    folder = pretrained(tmp_path / "model", "bert")
    file = tmp_path / "model/tokenizer_config.json"
    before = load_row_tokenizer(folder, str(tmp_path))
    file.write_text(json.dumps({**json.loads(file.read_text()), "split_special_tokens": True}))
    after = load_row_tokenizer(folder, str(tmp_path))
    assert (before.split_special_tokens, after.split_special_tokens) == (False, True)
    assert before.fingerprint != after.fingerprint
    assert load_row_tokenizer(folder, str(tmp_path)) == after, "from the cache"
    assert _ids(folder, tmp_path, ["a [SEP]"])[0] == [load_tokenizer(folder)("a [SEP]")["input_ids"]]


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    folder = pretrained(tmp_path / "model", "xlm-roberta")
    (tmp_path / "model/tokenizer.json").unlink()
    (tmp_path / "model/sentencepiece.bpe.model").write_bytes(b"\0")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    for load in (load_tokenizer, lambda path: load_row_tokenizer(path, str(tmp_path))):
        with pytest.raises(ModelError, match=r"\(sentencepiece.bpe.model\) needs sentencepiece, which is not installed; pip"):
            load(folder)


def test_a_sentencepiece_vocabulary_alone_is_enough(tmp_path):
    """DeBERTa-v3 as the hub ships it: ``spm.model``, and no ``tokenizer.json``."""
    sentencepiece = pytest.importorskip("sentencepiece")
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    (tmp_path / "corpus.txt").write_text("the film is good\na bad plot\nthe scene is poor\n" * 50)
    folder = tmp_path / "model"
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "corpus.txt"), model_prefix=str(folder / "spm"), vocab_size=40, hard_vocab_limit=False, pad_id=0,
        bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]",
        user_defined_symbols=["[MASK]"],
    )  # fmt: skip
    size = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model")).vocab_size()
    config = DebertaV2Config(vocab_size=size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    model = DebertaV2ForSequenceClassification(config)
    model.save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    tokenizer = load_tokenizer(str(folder))
    ids, _ = _ids(str(folder), tmp_path, ["the film is good"])
    assert ids == [tokenizer("the film is good")["input_ids"]]
    model.config.id2label = dict(enumerate(LABELS))
    save_classifier(model, tokenizer, str(tmp_path / "saved"))
    assert _ids(str(tmp_path / "saved"), tmp_path, ["the film is good"])[0] == ids


def test_fingerprints_of_ordinary_tokenizers_stay_as_they_are(tmp_path):
    """They decide the order of batches, and with it every recorded result."""
    import hashlib

    import tokenizers

    tokenizer = load_row_tokenizer(pretrained(tmp_path / "bert", "bert"), str(tmp_path))
    names = ("backend", "has_token_types", "pad_token_id", "truncation_side")
    content = json.dumps([{name: getattr(tokenizer, name) for name in names}, tokenizers.__version__], sort_keys=True)
    assert tokenizer.fingerprint == hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
