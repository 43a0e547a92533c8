"""Scoring of prompts with a causal language model: log-probabilities of each label's answer, normalised over the labels.

Contextual calibration divides by the probabilities of the answers after content-free texts (Zhao et al. 2021,
arXiv:2102.09690 §5): ``W = diag(p_cf)^-1, b = 0``, with ``p_cf`` the mean over these texts. The result is normalised instead of
passed through another softmax as in the paper, so that its order is the paper's and uncalibrated answers stay as they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raykd.data.batch import Batch
from raykd.data.tokenised_set import TokenisedSet
from raykd.models.answer_logprobs import AnswerLogprobs, PrefixStates
from raykd.models.causal_models import load_causal_model
from raykd.predict.scorer import ScoreJob, Scorer

MIN_PREFIX = 8
"""Tokens that prompts must share for their states to be computed apart."""


@dataclass(frozen=True)
class AnswerJob(ScoreJob):
    """A causal language model, its prompts as a tokenised set, and the labels' answers."""

    answers: tuple[tuple[int, ...], ...] = ()
    """Token ids of each label's answer, in the order of the labels' ids."""
    content_free: tuple[tuple[int, ...], ...] = ()
    """Token ids of the prompts of content-free texts; empty without calibration."""


class AnswerScorer(Scorer):
    """Scores :class:`AnswerJob`, with weights in the precision of the forward pass, and other jobs as its base class does."""

    _bias: tuple[tuple[AnswerJob, torch.nn.Module], AnswerLogprobs, Tensor] | None = None
    _prefix: tuple[AnswerLogprobs, tuple[int, ...], PrefixStates | None] | None = None

    def load(self, job: ScoreJob, labels: Sequence[str]) -> torch.nn.Module:
        """The model of a job."""
        if not isinstance(job, AnswerJob):
            return super().load(job, labels)
        self._bias = self._prefix = None
        loaded: torch.nn.Module = load_causal_model(
            job.model, dtype=torch.bfloat16 if self.precision == "bf16" else torch.float32
        )
        return loaded

    def classifies(self, job: ScoreJob) -> bool:
        """False for a causal language model."""
        return not isinstance(job, AnswerJob)

    def outputs(
        self, model: torch.nn.Module, job: ScoreJob, prepared: TokenisedSet, group: int, batches: Iterator[Batch]
    ) -> list[Tensor]:
        """Normalised log-probabilities of the answers, ``[B, C]`` for each batch of a row group."""
        if not isinstance(job, AnswerJob):
            return super().outputs(model, job, prepared, group, batches)
        logprobs, bias = self._calibrated(model, job)
        prefix = self._prefix_states(logprobs, common_prefix(prepared, group))
        given = (batch.to(self._device) for batch in batches)
        return [(logprobs(one.input_ids, one.attention_mask, prefix) - bias).log_softmax(-1) for one in given]

    def _calibrated(self, model: torch.nn.Module, job: AnswerJob) -> tuple[AnswerLogprobs, Tensor]:
        """The answers of a job, and the logarithm of their mean probability after content-free texts, ``[C]``."""
        if self._bias is None or self._bias[0][0] != job or self._bias[0][1] is not model:
            logprobs = AnswerLogprobs(model, job.answers)
            prompts = [torch.tensor([ids], device=self._device) for ids in job.content_free]
            free = [logprobs(ids, torch.ones_like(ids)).log_softmax(-1) for ids in prompts]
            bias = torch.cat(free).exp().mean(0).log() if free else torch.zeros(len(job.answers), device=self._device)
            self._bias = ((job, model), logprobs, bias)
        return self._bias[1], self._bias[2]

    def _prefix_states(self, logprobs: AnswerLogprobs, ids: tuple[int, ...]) -> PrefixStates | None:
        """The states of a prefix, kept for the next row group, which mostly has the same one."""
        if self._prefix is None or self._prefix[0] is not logprobs or self._prefix[1] != ids:
            self._prefix = (logprobs, ids, logprobs.prefix(ids))
        return self._prefix[2]


def common_prefix(prepared: TokenisedSet, group: int) -> tuple[int, ...]:
    """Tokens that all rows of a group begin with, without the last one of the shortest row; () for fewer than MIN_PREFIX."""
    column = prepared.read_group(group, ["input_ids"])["input_ids"].combine_chunks()
    starts, ids = column.offsets.to_numpy()[:-1], column.values.to_numpy()
    shortest = int(np.diff(column.offsets.to_numpy()).min()) - 1
    table = ids[starts[:, None] + np.arange(shortest)]  # [n, shortest]
    same = (table == table[0]).all(0)
    length = shortest if same.all() else int(same.argmin())
    return tuple(table[0, :length].tolist()) if length >= MIN_PREFIX else ()
