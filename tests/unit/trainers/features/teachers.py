"""Teachers that store their states, and their records compared."""

from typing import Any

import pytest
import torch

from raykd.data.batch import Batch
from raykd.data.tokenised_set import SourceFile, TokenisedSet
from raykd.metakd.meta_distillation import MetaDistillation
from raykd.trainers.auxiliary import Composite
from raykd.trainers.features.feature_kd import FeatureKD
from raykd.trainers.features.live_teacher import LiveTeacher, TeacherTargets, token_axes
from raykd.trainers.features.stored_states import CachedTeacher, Source, StateStore
from tests.unit.metakd.features import ROWS, make_distillation, make_model

HEADS = pytest.mark.parametrize("heads", [2, 4], ids=["same heads", "mean over heads"])


def made(heads: int = 4) -> tuple[Composite, MetaDistillation]:
    settings: dict[str, Any] = {"soft_weight": 0.7, "hard_weight": 0.3}
    student, teacher = make_model(hidden=8, heads=2), make_model(hidden=16, layers=4, heads=heads, seed=2)
    return make_distillation(student, teacher, weights={"relation": 1.0}, **settings)


def cached(objective: FeatureKD, source: Source = "stored", **settings: Any) -> CachedTeacher:
    rows = TokenisedSet(
        path="", fingerprint="", rows_fingerprint="", labels=None, pad_token_id=0, has_token_types=False, max_length=12,
        sources=(SourceFile("a", ROWS, ""),), read=ROWS, rejected=0, filtered=0, parts=(),
    )  # fmt: skip
    assert isinstance(objective.teacher, LiveTeacher)
    return CachedTeacher(live=objective.teacher, store=StateStore(rows), uses=9, source=source, **settings)


def part(batch: Batch, rows: list[int]) -> Batch:
    from raykd.trainers.features.stored_states import _take

    return _take(batch, torch.tensor(rows))


def assert_same(actual: TeacherTargets, expected: TeacherTargets, batch: Batch) -> None:
    """Up to what stands on padding."""
    mask = batch.attention_mask.bool()
    masks = {1: mask[..., None], 2: (mask[:, None, :, None] & mask[:, None, None, :])}
    for name, value in expected.named().items():
        keep = masks.get(token_axes(name), torch.ones(()).bool())
        torch.testing.assert_close(actual.named()[name] * keep, value * keep, rtol=1e-5, atol=1e-6, msg=name)
