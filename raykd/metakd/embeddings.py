"""Row embeddings: the mean hidden state of an encoder, once for all rows, as a side table.

The job is that of :mod:`raykd.predict`: the same batches, actors and parts, with another thing computed from each batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from raykd import models
from raykd.data.batch import Batch
from raykd.metakd.domain_head import content
from raykd.predict.scorer import ScoreJob, Scorer

EMBEDDING = "embedding"
"""Column of the side table: ``[H]`` float32."""


class Embedder(Scorer):
    """A :class:`~raykd.predict.scorer.Scorer` of :data:`EMBEDDING`; pass it to :func:`raykd.predict.score`.

    ``E(x)`` of Pan et al. 2021, arXiv:2012.01266: the mean of the last hidden states over the text's tokens, in eval mode.
    """

    column = EMBEDDING

    def load(self, job: ScoreJob, labels: Sequence[str]) -> torch.nn.Module:
        """The encoder of a folder, trained as a classifier or not."""
        encoder: torch.nn.Module = models.load_classifier(job.model, labels=labels).base_model
        return encoder

    def forward(self, model: torch.nn.Module, batch: Batch) -> Tensor:
        """Embeddings ``[B, H]``."""
        return content(model(**batch.model_inputs()).last_hidden_state, batch.attention_mask)
