"""Tiny causal language models with a byte-level tokenizer, for tests of language models as teachers."""

from pathlib import Path
from typing import Any, Literal

import torch

Kind = Literal["gpt2", "llama", "mistral", "bloom", "mamba"]
CORPUS = [
    "Review: the film is very good and the plot was lovely\nSentiment: positive",
    "a sad and awful end\nSentiment: negative",
]
CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def byte_tokenizer(*, chat: bool = False, pad: bool = False, bos: bool = False) -> Any:
    """A byte-level BPE with a few merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|user|>", "<|assistant|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(CORPUS * 4, trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet))
    if bos:
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokens = {"bos_token": "<s>", "eos_token": "</s>", **({"pad_token": "</s>"} if pad else {})}
    return PreTrainedTokenizerFast(tokenizer_object=core, chat_template=CHAT if chat else None, **tokens)


def causal_model(kind: Kind, vocabulary: int, *, positions: int = 256) -> Any:
    """A model with random weights, large enough for logits to differ."""
    import transformers

    torch.manual_seed(11)
    small = {"vocab_size": vocabulary, "hidden_size": 32, "num_hidden_layers": 2, "initializer_range": 0.3}
    heads = {"num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": positions}
    config: Any
    match kind:
        case "gpt2":
            config = transformers.GPT2Config(
                vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=positions, initializer_range=0.3,
                bos_token_id=0, eos_token_id=1,
            )  # fmt: skip
        case "llama":
            config = transformers.LlamaConfig(**small, **heads, num_key_value_heads=2)
        case "mistral":
            config = transformers.MistralConfig(**small, **heads, num_key_value_heads=2, sliding_window=6)
        case "bloom":
            config = transformers.BloomConfig(**small, n_head=4)
        case "mamba":
            config = transformers.MambaConfig(**small, state_size=4)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def save_causal_model(folder: Path, kind: Kind = "llama", *, positions: int = 256, **tokenizer: bool) -> str:
    """A model folder as transformers saves it."""
    own = byte_tokenizer(**tokenizer)
    causal_model(kind, len(own), positions=positions).save_pretrained(folder)
    own.save_pretrained(folder)
    return str(folder)


def answer_logprob(model: Any, prompt: list[int], answer: list[int]) -> float:
    """Sum of the log-probabilities of the answer's tokens, from one pass over prompt and answer without padding or cache."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0].double()
    logprobs = logits.log_softmax(-1)
    return sum(float(logprobs[len(prompt) - 1 + place, token]) for place, token in enumerate(answer))
