"""Fine-tuning against torch's losses."""

import torch
import torch.nn.functional as F

from raykd.trainers.fine_tune import FineTune
from tests.unit.trainers.objective_cases import MANY, BagOfTokens, make_batch, make_table


def test_fine_tuning_is_the_mean_cross_entropy_and_binary_cross_entropy() -> None:
    for objective, reference in (
        (FineTune(), F.cross_entropy),
        (FineTune(MANY), lambda logits, labels: F.binary_cross_entropy_with_logits(logits, labels.float())),
    ):
        batch, model = make_batch(make_table(objective)), BagOfTokens()
        expected = reference(model(**batch.model_inputs()).logits, batch.labels)
        torch.testing.assert_close(objective(model, batch).per_row.mean(), expected)
