"""Log-probabilities of whole answers after prompts, by a causal language model that computes what prompts share once.

Prompts are padded on the left, so that the next token's logits stand at the last position. Keys and values of a common prefix
come from one forward pass, those of a prompt serve all its answers. Models whose cache cannot be reused that way (the
constructor tries) read each prompt whole, once for each answer of several tokens.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from raykd.errors import ModelError

PROBE_LENGTHS, PROBE_PREFIX = (9, 13), 4
"""Tokens of the two prompts that the model is tried with, and of their common prefix."""
TOLERANCE = {torch.float32: 1e-3}
"""Largest difference of a log-probability between two ways to compute it, by the type of the weights."""
COARSE_TOLERANCE = 0.3
"""The same in bfloat16, whose rounding differs with the shape of a batch."""


@dataclass(frozen=True)
class PrefixStates:
    """Keys and values of the tokens that all prompts of a group begin with."""

    length: int
    cache: Any
    """transformers' cache of one row."""


class AnswerLogprobs:
    """Sums of the log-probabilities of each answer's tokens."""

    def __init__(self, model: nn.Module, answers: Sequence[Sequence[int]], *, reuse: bool | None = None) -> None:
        """``reuse`` of keys and values is tried unless given. Raises ModelError when padding changes the model's logits."""
        import inspect

        self._model, self._answers = model, [list(answer) for answer in answers]
        accepted = inspect.signature(model.forward).parameters
        self._positions, self._keeps = "position_ids" in accepted, "logits_to_keep" in accepted
        self._cache_name = "past_key_values" if "past_key_values" in accepted else None
        self.reuse = self._try() if reuse is None else reuse

    def prefix(self, ids: Sequence[int]) -> PrefixStates | None:
        """Keys and values of a common prefix; None for a model that cannot reuse them, and for an empty prefix."""
        if not self.reuse or not ids:
            return None
        row = torch.tensor([list(ids)], device=self._device)
        _, cache = self._forward(row, torch.ones_like(row), None, 0, keep=1, use_cache=True)
        return PrefixStates(len(ids), cache)

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, prefix: PrefixStates | None = None) -> Tensor:
        """``[B, C]`` float32 for prompts ``[B, L]`` padded on the left, each with a token after the ``prefix`` at least."""
        if not self.reuse:
            return self._without_cache(input_ids, attention_mask)
        skipped = 0 if prefix is None else prefix.length
        lengths = attention_mask.sum(1, keepdim=True) - skipped  # [B, 1]
        width = int(lengths.max())
        ids, mask = input_ids[:, -width:], attention_mask[:, -width:]
        if prefix is not None:
            mask = (torch.arange(width, device=ids.device) >= width - lengths).long()  # the prefix is masked where it shows
            mask = torch.cat([mask.new_ones(len(mask), skipped), mask], 1)  # [B, P + W]
        cache = None if prefix is None else _repeated(prefix.cache, len(ids))
        logits, cache = self._forward(ids, mask, cache, skipped, keep=1, use_cache=self._longest > 1)
        first = logits[:, -1].log_softmax(-1)  # [B, V]
        return torch.stack([self._answer(answer, first, mask, cache) for answer in self._answers], 1)

    def _answer(self, answer: list[int], first: Tensor, mask: Tensor, cache: Any) -> Tensor:
        """``[B]``: the first token by the prompt's logits, the others by a pass over the answer, whose states are dropped."""
        total = first[:, answer[0]]
        if len(answer) == 1:
            return total
        ids, rest = self._rows(answer[:-1], len(mask)), self._rows(answer[1:], len(mask))
        longer = torch.cat([mask, torch.ones_like(ids)], 1)
        logits, cache = self._forward(ids, longer, cache, mask.shape[1], keep=len(answer) - 1, use_cache=True)
        cache.crop(1 - len(answer))
        return total + logits.log_softmax(-1).gather(2, rest[..., None])[..., 0].sum(1)

    def _without_cache(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """``[B, C]``: each answer of several tokens after the whole prompt, those of one token together."""
        scores: dict[int, Tensor] = {}
        for index, answer in enumerate(self._answers):
            if len(answer) == 1 and -1 in scores:
                continue
            ids = torch.cat([input_ids, self._rows(answer[:-1], len(input_ids))], 1)
            mask = torch.cat([attention_mask, attention_mask.new_ones(len(ids), len(answer) - 1)], 1)
            logprobs = self._forward(ids, mask, None, 0, keep=len(answer), use_cache=False)[0].log_softmax(-1)
            if len(answer) == 1:
                scores[-1] = logprobs[:, -1]
            else:
                scores[index] = logprobs.gather(2, self._rows(answer, len(ids))[..., None])[..., 0].sum(1)
        return torch.stack(
            [scores[index] if len(one) > 1 else scores[-1][:, one[0]] for index, one in enumerate(self._answers)], 1
        )

    def _forward(
        self, ids: Tensor, mask: Tensor, cache: Any, skipped: int, *, keep: int, use_cache: bool
    ) -> tuple[Tensor, Any]:
        """The last ``keep`` positions' logits ``[B, keep, V]`` in float32, and the cache of all ``mask.shape[1]`` positions."""
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if self._positions:
            inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, skipped:]
        if self._keeps:
            inputs["logits_to_keep"] = keep
        if self._cache_name is not None:
            inputs |= {"use_cache": use_cache, self._cache_name: cache}
        output = self._model(**inputs)
        return output.logits[:, -keep:].float(), getattr(output, "past_key_values", None)

    def _try(self) -> bool:
        """True when reused keys and values give the same answers as whole prompts, one at a time without padding."""
        places = torch.arange(max(PROBE_LENGTHS), device=self._device)
        vocabulary = int(self._model.config.get_text_config().vocab_size)  # type: ignore[operator, union-attr]
        # arbitrary tokens; both prompts begin with the same ones
        rows = [(places[:length] * 31 + 7 + (places[:length] > PROBE_PREFIX) * number) % vocabulary
                for number, length in enumerate(PROBE_LENGTHS)]  # fmt: skip
        ids = torch.stack([torch.cat([places.new_zeros(len(places) - len(row)), row]) for row in rows])
        mask = torch.stack([(places >= len(places) - len(row)).long() for row in rows])
        with torch.inference_mode():
            alone = torch.cat([self._without_cache(row[None], torch.ones_like(row)[None]) for row in rows])
            if not self._near(self._without_cache(ids, mask), alone):
                raise ModelError(
                    f"{type(self._model).__name__} gives other logits for a prompt that is padded on the left, so that its "
                    "prompts cannot be read in batches; use another model"
                )
            self.reuse = True
            try:
                prefix = self.prefix(rows[0][:PROBE_PREFIX].tolist())
                slides = prefix is None or any(prefix.cache.is_sliding)  # a window counts the padding after the prefix
                return not slides and self._near(self(ids, mask, prefix), alone)
            except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError):
                return False  # no cache, or one of another kind

    def _near(self, found: Tensor, expected: Tensor) -> bool:
        limit = TOLERANCE.get(next(self._model.parameters()).dtype, COARSE_TOLERANCE)
        return bool((found - expected).abs().max() <= limit)

    def _rows(self, ids: Sequence[int], count: int) -> Tensor:
        return torch.tensor(list(ids), dtype=torch.long, device=self._device).expand(count, -1)

    @property
    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    @property
    def _longest(self) -> int:
        return max(map(len, self._answers))


def _repeated(cache: Any, rows: int) -> Any:
    """A copy of a cache of one row for a batch, to be appended to."""
    copied = copy.deepcopy(cache)
    copied.batch_repeat_interleave(rows)
    return copied
