"""Tokenizers that can spell any word of their letters, in both kinds of vocabulary that can be reduced."""

import string
from typing import Any

import transformers as hf
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

LETTERS = string.ascii_lowercase + "é,.'-"
PIECES = ("the", "film", "good", "go", "od", "plot", "lot", "ilm", "there", "her", "here", "e", "re", "lovely", "love", "ly")
SPECIAL = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
USED = "the film plot, love here"


def spelling_wordpiece() -> Any:
    """WordPiece with all letters, and one word with a letter that has no token of its own; special tokens in the middle."""
    tokens = [*("the", "film"), *SPECIAL.values(), *LETTERS, *(f"##{letter}" for letter in LETTERS), "naïve"]
    tokens += [piece for word in PIECES for piece in (word, f"##{word}")]
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    core = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    core.decoder = decoders.WordPiece()
    core.enable_padding(pad_id=vocab["[PAD]"], length=4)
    return hf.PreTrainedTokenizerFast(tokenizer_object=core, **SPECIAL)


def spelling_unigram(*, byte_fallback: bool = False) -> Any:
    """Unigram with all letters, pieces of different scores, and an added token."""
    pieces = [*((token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")), ("▁", -4.0), ("qqq", -20.0)]
    pieces += [(letter, -9.0 - 0.1 * index) for index, letter in enumerate(LETTERS)]
    words = dict.fromkeys([*PIECES, *(f"▁{word}" for word in PIECES)])
    pieces += [(word, -2.0 - 0.3 * index) for index, word in enumerate(words) if len(word) > 1]
    pieces += [(f"<0x{byte:02X}>", 0.0) for byte in range(256)] * byte_fallback
    core = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=byte_fallback))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "unk_token": "<unk>"}
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", **names)
    tokenizer.add_tokens(["<tag>"])
    return tokenizer
