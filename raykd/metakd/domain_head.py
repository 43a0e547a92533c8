"""The domain head, an auxiliary module of a stock classifier, and its features; stored in its own safetensors file.

The classifier's folder stays a stock model folder without these weights.
"""

import torch
from torch import Tensor, nn

from raykd.data import storage
from raykd.errors import ModelError
from raykd.losses.reduce import mean_over_tokens


class DomainHead(nn.Module):
    """Pan et al. 2021, arXiv:2012.01266: ``h_d(x) = tanh(W (E(x) + e_k) + b)``, and a classifier of domains on it.

    ``E(x)`` is the mean of a row's hidden states, ``e_k`` the learned embedding of the row's own domain.
    """

    def __init__(self, num_domains: int, width: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.domain_embedding = nn.Embedding(num_domains, width)
        self.corrupt_dense = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, num_domains)

    @property
    def num_domains(self) -> int:
        """Its domains."""
        return self.domain_embedding.num_embeddings

    def feature(self, content: Tensor, domains: Tensor) -> Tensor:
        """The transferable knowledge ``h_d``: content ``[B, H]``, domain ids ``[B]`` to ``[B, H]``, each value in -1 .. 1."""
        return torch.tanh(self.corrupt_dense(content + self.domain_embedding(domains)))

    def forward(self, content: Tensor, domains: Tensor) -> Tensor:
        """Domain logits ``[B, K]``."""
        logits: Tensor = self.classifier(self.dropout(self.feature(content, domains)))
        return logits


def content_mask(attention_mask: Tensor) -> Tensor:
    """The positions ``[B, L]`` that carry a row's text: all valid ones but the first and the last, which are special tokens."""
    shifted = torch.nn.functional.pad(attention_mask[:, 1:], (0, 1))  # 0 on the last valid position
    mask = attention_mask.bool() & shifted.bool()
    mask[:, 0] = False
    return mask


def content(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    """``E(x)``: mean of the last hidden states ``[B, L, H]`` over the text's tokens, fp32 ``[B, H]``; padding enters nothing.

    0 for a row without text.
    """
    return mean_over_tokens(hidden_states, content_mask(attention_mask))


def load_domain_head(path: str, *, num_domains: int, width: int) -> DomainHead:
    """The domain head of a safetensors file. Raises ModelError when it is absent or of another shape."""
    from safetensors.torch import load

    if not storage.exists(path):
        raise ModelError(f"{path} does not exist: the teacher has no domain head; train it as a meta-teacher")
    weights = load(storage.read_bytes(path))
    head = DomainHead(num_domains, width)
    expected = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != expected:
        raise ModelError(f"{path} is no domain head of {num_domains} domains and width {width}: it holds {found}")
    head.load_state_dict(weights)
    return head
