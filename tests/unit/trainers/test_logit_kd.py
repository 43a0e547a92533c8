"""Settings of the distilling objectives: what is refused before training, and how they move during it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F

from raykd.errors import ConfigError, DataError
from raykd.losses import non_target_class_kd, target_class_kd
from raykd.trainers.logit_kd import DecoupledKD, DistKD, MseKD, PseudoLabel, VanillaKD, ramp
from raykd.trainers.objective import Objective
from tests.unit.trainers.objective_cases import MANY, ROWS, BagOfTokens, gradients, make_batch, make_table, replaced, run


@pytest.mark.parametrize(
    ("start", "final", "progress", "expected"),
    [(4, None, 0.5, 4), (4, 1, 0, 4), (4, 1, 0.5, 2.5), (4, 1, 1, 1), (0, 1, 0.25, 0.25), (4, 1, -1, 4), (4, 1, 2, 1)],
)
def test_a_ramp_is_a_line_that_ends(start: float, final: float | None, progress: float, expected: float) -> None:
    assert ramp(start, final, progress) == expected


def test_dist_refuses_what_it_cannot_learn_from() -> None:
    with pytest.raises(ConfigError, match=r"inter_weight = 1\.0 with 2 labels"):
        DistKD().check(num_labels=2, whole_batch=True)
    with pytest.raises(ConfigError, match="micro_batch_size"):
        DistKD().check(num_labels=3, whole_batch=False)
    DistKD().check(num_labels=3, whole_batch=True)
    DistKD(intra_weight=0).check(num_labels=3, whole_batch=False)
    DistKD(inter_weight=0).check(num_labels=2, whole_batch=True)


@pytest.mark.parametrize(
    ("make", "settings_", "message"),
    [
        (VanillaKD, {"alpha": 1.5}, r"alpha = 1\.5"),
        (MseKD, {"final_alpha": -0.1}, r"final_alpha = -0\.1"),
        (VanillaKD, {"temperature": 0.0}, r"temperature = 0\.0"),
        (DecoupledKD, {"final_temperature": -1.0}, r"final_temperature = -1\.0"),
        (DistKD, {"inter_weight": 0, "intra_weight": 0}, "one is above 0"),
        (DistKD, {"inter_weight": -1}, "neither is negative"),
    ],
)
def test_settings_out_of_bounds_are_refused(make: Callable[..., Objective], settings_: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**settings_)


@pytest.mark.parametrize(("temperature", "alpha"), [(1.0, 0.2), (10.0, 0.25), (2.5, 0.0)])
def test_vanilla_kd_is_easynlps_formula(temperature: float, alpha: float) -> None:
    objective = VanillaKD(temperature=temperature, alpha=alpha)
    batch, model = make_batch(make_table(objective)), BagOfTokens()
    student, teacher = model(**batch.model_inputs()).logits, batch.teacher_logits
    kd = F.kl_div(F.log_softmax(student / temperature, -1), F.softmax(teacher / temperature, -1), reduction="batchmean")
    easynlp = alpha * temperature**2 * kd + (1 - alpha) * F.cross_entropy(student, batch.labels)
    ours = objective(model, batch).per_row.sum() / ROWS
    torch.testing.assert_close(ours, easynlp, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients(model, [ours]), gradients(model, [easynlp]), rtol=1e-5, atol=1e-7)


def test_decoupled_kd_at_alpha_one_half_is_half_the_papers_loss() -> None:
    objective = DecoupledKD(temperature=4.0, alpha=0.5, target_weight=1.0, non_target_weight=8.0)
    batch, model = make_batch(make_table(objective)), BagOfTokens()
    student = model(**batch.model_inputs()).logits
    assert batch.teacher_logits is not None
    assert batch.labels is not None
    parts = [
        loss(student, batch.teacher_logits, batch.labels, temperature=4.0) for loss in (target_class_kd, non_target_class_kd)
    ]
    paper = F.cross_entropy(student, batch.labels, reduction="none") + parts[0] + 8 * parts[1]
    torch.testing.assert_close(2 * objective(model, batch).per_row, paper)


@pytest.mark.parametrize("make", [VanillaKD, MseKD, PseudoLabel, DecoupledKD, DistKD])
def test_alpha_weighs_the_teachers_terms_and_the_labels_have_the_rest(make: Callable[..., Objective]) -> None:
    half, quarter = run(make(alpha=0.5)).terms, run(make(alpha=0.25)).terms
    for name in half:
        factor = 0.5 if name.startswith("kd_") else 1.5
        torch.testing.assert_close(quarter[name], factor * half[name])


@pytest.mark.parametrize(
    "objective", [VanillaKD(alpha=1), MseKD(alpha=1), VanillaKD(kind=MANY, alpha=1, final_alpha=1), DistKD(alpha=1)]
)
def test_alpha_one_reads_no_labels(objective: Objective) -> None:
    assert not objective.needs_labels
    table, model = make_table(objective), BagOfTokens()
    unlabelled = objective(model, make_batch(table.drop_columns("label")))
    impossible = replaced(make_batch(table), labels=torch.full((ROWS,), -7))
    torch.testing.assert_close(objective(model, impossible).terms, unlabelled.terms, rtol=0, atol=0)
    assert unlabelled.per_row.requires_grad


@pytest.mark.parametrize("objective", [VanillaKD(), MseKD(), VanillaKD(kind=MANY), DecoupledKD(), DistKD()])
def test_teacher_logits_that_are_missing_are_an_error(objective: Objective) -> None:
    assert objective.side_columns == ("logits",)
    with pytest.raises(DataError, match="without teacher logits"):
        run(objective, make_table(objective).drop_columns("logits"))


def test_schedules_follow_the_progress_and_leave_the_objective_as_it_was() -> None:
    moving = VanillaKD(temperature=4.0, final_temperature=1.0, alpha=0.9, final_alpha=0.1)
    for progress, level in (
        (0.0, VanillaKD(temperature=4.0, alpha=0.9)),
        (0.5, VanillaKD(temperature=2.5, alpha=0.5)),
        (1.0, VanillaKD(temperature=1.0, alpha=0.1)),
    ):
        torch.testing.assert_close(run(moving.at(progress)).terms, run(level).terms)
        assert moving.at(progress).at(0.0) == moving
    torch.testing.assert_close(run(moving).terms, run(moving.at(0.0)).terms)


def test_a_schedule_keeps_its_terms_and_needs_where_a_weight_touches_zero() -> None:
    moving = VanillaKD(alpha=1.0, final_alpha=0.0)
    for progress in (0.0, 0.5, 1.0):
        assert moving.at(progress).needs_labels
        assert list(run(moving.at(progress)).terms) == ["kd_kl", "ce"]
    assert run(moving.at(0.0)).terms["ce"].eq(0).all()


KD_ROWS: list[Objective] = [
    VanillaKD(alpha=0.3, temperature=3.0),
    MseKD(alpha=0.7),
    PseudoLabel(alpha=0.2),
    VanillaKD(kind=MANY, alpha=0.4),
]


@pytest.mark.parametrize("objective", KD_ROWS, ids=lambda objective: type(objective).__name__)
def test_rows_without_a_label_have_the_teachers_terms_alone(objective: Objective) -> None:
    table = make_table(objective)
    known = np.arange(ROWS) % 3 == 0
    mixed = objective(BagOfTokens(), make_batch(table.append_column("labelled", pa.array(known))))
    labelled, teacher = run(objective), run(replace(objective, alpha=1.0))  # type: ignore[type-var]  # every case is a data class
    kept = torch.from_numpy(known)
    torch.testing.assert_close(mixed.per_row, torch.where(kept, labelled.per_row, teacher.per_row))
    for name, term in mixed.terms.items():
        if not name.startswith("kd_"):
            assert term[~kept].eq(0).all()


def test_zeros_in_the_place_of_labels_reach_no_gradient() -> None:
    objective = VanillaKD(alpha=0.3)
    table = make_table(objective).append_column("labelled", pa.array([False] * ROWS))
    model, batch = BagOfTokens(), make_batch(table)
    first = gradients(model, [objective(model, batch).per_row.sum()])
    other = replaced(batch, labels=torch.full((ROWS,), 2))
    torch.testing.assert_close(gradients(model, [objective(model, other).per_row.sum()]), first, rtol=0, atol=0)
