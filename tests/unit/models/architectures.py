"""Tiny model folders of many architectures, each with the kind of tokenizer it comes with; built offline."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

LABELS = ("bad", "good")
WORDS = ("the", "film", "is", "not", "very", "good", "bad", "great", "poor", "a", "plot", "scene")
ROWS = ["the film is good", "a bad plot", "the scene is not very good , the film is poor", "great"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def wordpiece() -> Any:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, ",", "[", "]", "s", "##ep", "cl", "##s", "<", "/", ">"]
    core = Tokenizer(models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pair = "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"
    special = [("[CLS]", 2), ("[SEP]", 3)]
    core.post_processor = processors.TemplateProcessing(single="[CLS]:0 $A:0 [SEP]:0", pair=pair, special_tokens=special)
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return hf.PreTrainedTokenizerFast(tokenizer_object=core, model_input_names=inputs, **names)


def byte_level(kind: str) -> Any:
    """RoBERTa's, BART's or GPT-2's: bytes, and the words as merges."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if kind != "gpt2" else ["<|endoftext|>"]
    vocab = {token: index for index, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    names = {} if kind == "gpt2" else {"cls_token": "<s>", "bos_token": "<s>", "mask_token": "<mask>"}
    build = {"gpt2": hf.GPT2Tokenizer, "bart": hf.BartTokenizer, "roberta": hf.RobertaTokenizer}[kind]
    return build(vocab=vocab, merges=[], **names)


def unigram(kind: str) -> Any:
    pieces = [(f"▁{word}", -3.0) for word in WORDS] + [("▁", -4.0)] + [(c, -8.0) for c in "abcdefghijklmnopqrstuvwxyz<>/,[]"]
    if kind == "t5":
        return hf.T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces], extra_ids=0)
    if kind == "deberta-v2":
        special = [("[PAD]", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[UNK]", 0.0)]
        return hf.DebertaV2Tokenizer(vocab=[*special, *pieces, ("[MASK]", 0.0)], unk_id=3)
    if kind == "xlnet":
        special = [(token, 0.0) for token in ("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>")]
        return hf.XLNetTokenizer(vocab=[*special, *pieces], unk_id=0)
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return hf.XLMRobertaTokenizer(vocab=[*special, *pieces, ("<mask>", 0.0)])


def _config(kind: str, size: int) -> Any:
    """A configuration of two narrow layers."""
    named: dict[str, Callable[[], Any]] = {
        "bert": lambda: hf.BertConfig(vocab_size=size, max_position_embeddings=64, **SMALL),
        "electra": lambda: hf.ElectraConfig(vocab_size=size, max_position_embeddings=64, embedding_size=16, **SMALL),
        "mpnet": lambda: hf.MPNetConfig(vocab_size=size, max_position_embeddings=66, pad_token_id=0, **SMALL),
        "distilbert": lambda: hf.DistilBertConfig(
            vocab_size=size, dim=16, hidden_dim=32, n_layers=2, n_heads=2, max_position_embeddings=64
        ),
        "roberta": lambda: hf.RobertaConfig(vocab_size=size, max_position_embeddings=66, type_vocab_size=1, **SMALL),
        "xlm-roberta": lambda: hf.XLMRobertaConfig(vocab_size=size, max_position_embeddings=66, type_vocab_size=1, **SMALL),
        "modernbert": lambda: hf.ModernBertConfig(
            vocab_size=size, max_position_embeddings=64, pad_token_id=1, cls_token_id=0, sep_token_id=2, bos_token_id=0,
            eos_token_id=2, **SMALL,
        ),
        "deberta-v2": lambda: hf.DebertaV2Config(
            vocab_size=size, max_position_embeddings=64, type_vocab_size=0, relative_attention=True, position_buckets=16,
            pos_att_type=["p2c", "c2p"], position_biased_input=False, share_att_key=True, norm_rel_ebd="layer_norm", **SMALL,
        ),
        "gpt2": lambda: hf.GPT2Config(
            vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0
        ),
        "bart": lambda: hf.BartConfig(
            vocab_size=size, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=64,
        ),
        "t5": lambda: hf.T5Config(
            vocab_size=size, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
        ),
        "xlnet": lambda: hf.XLNetConfig(vocab_size=size, d_model=16, n_layer=2, n_head=2, d_inner=32),
    }  # fmt: skip
    return named[kind]()


WORDPIECE = ("bert", "distilbert", "electra", "mpnet")
BYTE_LEVEL = {"roberta": "roberta", "modernbert": "roberta", "bart": "bart", "gpt2": "gpt2"}
COUNTING = ("bart", "t5")
"""Those that need the same number of end-of-sequence tokens in each row: pairs and single texts do not mix."""
ARCHITECTURES = (*WORDPIECE, *BYTE_LEVEL, "t5", "xlnet", "deberta-v2", "xlm-roberta")


def tokenizer_of(kind: str) -> Any:
    tokenizer = wordpiece() if kind in WORDPIECE else byte_level(BYTE_LEVEL[kind]) if kind in BYTE_LEVEL else unigram(kind)
    if kind == "gpt2":
        tokenizer.pad_token = "<|endoftext|>"
    return tokenizer


def pretrained(
    folder: Path,
    kind: str,
    *,
    tokenizer: Any = None,
    auto: Any = hf.AutoModelForSequenceClassification,
    layers: int | None = None,
) -> str:
    """A folder as transformers saves it, with random weights, large enough for logits to differ."""
    tokenizer = tokenizer or tokenizer_of(kind)
    config = _config(kind, len(tokenizer))
    if layers is not None:
        config.num_hidden_layers = layers
        if kind == "modernbert":
            config.layer_types = ["sliding_attention" if layer % 3 else "full_attention" for layer in range(layers)]
    config.initializer_range = config.init_std = 0.5
    config.id2label, config.label2id = dict(enumerate(LABELS)), {label: index for index, label in enumerate(LABELS)}
    torch.manual_seed(7)
    model = auto.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
