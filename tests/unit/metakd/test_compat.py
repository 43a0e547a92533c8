"""compat: easynlp, term by term, against formulas written out over the full length."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.config.metakd_objectives import (
    EasyNLPArithmetic,
    MetaDistillationObjective,
    MetaTeacherObjective,
    PredictionObjective,
)
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ConfigError
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.compat import (
    FIT,
    EasyNLPDistillation,
    EasyNLPMetaTeacher,
    EasyNLPPrediction,
    Padding,
    fit_module,
    padded_embedder,
)
from raykd.predict import ScoreJob, score_locally
from raykd.trainers.auxiliary import Composite, with_modules
from raykd.trainers.features.feature_kd import PROJECTIONS
from raykd.trainers.features.layer_map import layer_map
from tests.unit.metakd.features import ROWS, make_batch, make_head, make_model
from tests.unit.metakd.tasks import train
from tests.unit.metakd.worlds import LABELS, save_model

LENGTH = 20
PADDING = Padding(LENGTH, 0)


def full(batch: Any) -> tuple[Tensor, Tensor]:
    """Ids and mask, padded by hand."""
    ids, mask = torch.zeros(ROWS, LENGTH, dtype=torch.long), torch.zeros(ROWS, LENGTH, dtype=torch.long)
    ids[:, : batch.input_ids.shape[1]] = batch.input_ids
    mask[:, : batch.input_ids.shape[1]] = batch.attention_mask
    return ids, mask


def states(model: Any, batch: Any) -> Any:
    ids, mask = full(batch)
    return model(input_ids=ids, attention_mask=mask, output_hidden_states=True, output_attentions=True)


def test_the_meta_teachers_weights_multiply_both_losses_and_domains_are_permuted() -> None:
    model, head, batch = make_model(), make_head(16, seed=8), make_batch()
    objective = EasyNLPMetaTeacher(
        head=head, domain_loss_weight=0.5, domain_loss="permuted", weigh_domain_loss=True, padding=PADDING
    )
    torch.manual_seed(3)
    terms = objective(with_modules(model, objective.trainable), batch).terms
    output = states(model, batch)
    row = output.hidden_states[-1][:, 1:].mean(1)  # padding is part of it
    domains, weight = batch.extras["domain_id"], batch.extras["weight"]
    feature = torch.tanh(head.corrupt_dense(head.domain_embedding(domains) + row))
    torch.manual_seed(3)
    drawn = domains[torch.randperm(ROWS)]
    torch.testing.assert_close(terms["ce"], weight * F.cross_entropy(output.logits, batch.labels, reduction="none"))
    adversarial = F.cross_entropy(head.classifier(feature), drawn, reduction="none")
    torch.testing.assert_close(terms["domain"], 0.5 * weight * adversarial)


@pytest.fixture
def pair() -> tuple[Composite, EasyNLPDistillation]:
    student, teacher = make_model(hidden=8), make_model(hidden=16, layers=4, seed=2)
    for one in (student, teacher):
        one.set_attn_implementation("eager")
    torch.manual_seed(7)
    auxiliary = {PROJECTIONS: fit_module(8, 16), DOMAIN_HEAD: make_head(8, seed=8)}
    objective = EasyNLPDistillation(
        teacher=teacher,
        head=make_head(16, seed=9),
        fit=nn.Linear(16, 16),
        layers=layer_map("uniform", student=2, teacher=4),
        auxiliary=auxiliary,
        domain_loss_weight=0.5,
        padding=PADDING,
    )
    return Composite(student, auxiliary), objective


def test_stage_first_is_scalars_times_the_mean_weight(pair: tuple[Composite, EasyNLPDistillation]) -> None:
    """Models without dropout, so that the teacher's training mode draws nothing."""
    model, objective = pair
    batch = make_batch()
    own, theirs = states(model.model, batch), states(objective.teacher, batch)
    fit: Any = model.auxiliary[PROJECTIONS][FIT]  # type: ignore[index]  # a dictionary of modules
    hidden = sum(F.mse_loss(fit(own.hidden_states[i]), theirs.hidden_states[2 * i]) for i in range(3))
    attention = sum(F.mse_loss(own.attentions[i], theirs.attentions[2 * i + 1]) for i in range(2))
    assert torch.allclose(theirs.attentions[0].sum(-1), torch.ones(())), "probabilities"
    domains = batch.extras["domain_id"]

    def feature(head: Any, output: Any) -> Tensor:
        found: Tensor = head.corrupt_dense(head.domain_embedding(domains) + output.hidden_states[-1][:, 1:].mean(1))
        return found

    head: Any = model.auxiliary[DOMAIN_HEAD]
    domain = F.mse_loss(fit(feature(head, own)), objective.fit(feature(objective.head, theirs)))
    right = theirs.logits.softmax(-1)[torch.arange(ROWS), batch.labels]
    weight = ((1 + batch.extras["weight"]) / (torch.exp((1 - right) ** 2) + 1)).mean()
    terms = objective(model, batch).terms
    for name, value in {"hidden": hidden, "attention": attention, "domain": 0.5 * domain}.items():
        torch.testing.assert_close(terms[name].mean(), weight * value)


def test_the_teacher_is_in_training_mode_and_its_projection_is_random(pair: tuple[Composite, EasyNLPDistillation]) -> None:
    model, objective = pair
    assert objective.teacher.training
    trained = {id(parameter) for parameter in model.parameters()}
    frozen = [*objective.teacher.parameters(), *objective.head.parameters(), *objective.fit.parameters()]
    assert not any(parameter.requires_grad or id(parameter) in trained for parameter in frozen)
    noisy: Any = objective.teacher.bert.embeddings.dropout
    noisy.p = 0.5
    torch.manual_seed(1)
    first = objective(model, make_batch()).terms["hidden"]
    second = objective(model, make_batch()).terms["hidden"]
    assert not torch.allclose(first, second), "dropout draws"


def test_a_batch_may_not_be_cut(pair: tuple[Composite, EasyNLPDistillation]) -> None:
    with pytest.raises(ConfigError, match="averages weights over a whole batch"):
        pair[1].check(num_labels=2, whole_batch=False)


def test_stage_second_has_no_squared_temperature() -> None:
    model, batch = make_model(), make_batch()
    terms = EasyNLPPrediction(temperature=2.0)(model, batch).terms
    assert batch.teacher_logits is not None
    logits = model(**batch.model_inputs()).logits
    expected = -((batch.teacher_logits / 2).softmax(-1) * (logits / 2).log_softmax(-1)).sum(-1)
    torch.testing.assert_close(terms["kd_ce"], expected)


def test_embeddings_are_means_over_padding(rows: TokenisedSet, model: str, tmp_path: Path) -> None:
    from raykd.data.side_tables import logits_numpy
    from raykd.metakd.embeddings import EMBEDDING
    from raykd.models import load_classifier

    scorer = padded_embedder(Padding(LENGTH, rows.pad_token_id))
    (table,) = score_locally([ScoreJob(model, rows.path, str(tmp_path / "out"))], scorer=scorer)
    found = logits_numpy(table.read_group(0)[EMBEDDING])
    tokens = rows.read_group(0, ["input_ids"])["input_ids"].to_pylist()
    ids, mask = np.zeros((len(tokens), LENGTH), int), np.zeros((len(tokens), LENGTH), int)
    for number, row in enumerate(tokens):
        ids[number, : len(row)], mask[number, : len(row)] = row, 1
    encoder = load_classifier(model, labels=LABELS).base_model
    with torch.no_grad():
        hidden = encoder(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).last_hidden_state
    np.testing.assert_allclose(found, hidden[:, 1:].mean(1).numpy(), rtol=1e-4, atol=1e-5)


def test_all_three_trainings_run(rows: TokenisedSet, model: str, weights: str, tmp_path: Path) -> None:
    compat = EasyNLPArithmetic(sequence_length=32)
    given = {"side_tables": (weights,)}
    teacher = train(tmp_path / "meta", model, rows, MetaTeacherObjective(num_domains=3, compat=compat), **given)
    head = str(tmp_path / "meta" / "domain_head.safetensors")
    student = save_model(tmp_path / "student", hidden=8, layers=2)
    features = MetaDistillationObjective(teacher=teacher.model_folder, domain_head=head, num_domains=3, compat=compat)
    first = train(tmp_path / "first", student, rows, features, **given)
    assert (tmp_path / "first" / "projections.safetensors").exists()
    logits = score_locally([ScoreJob(teacher.model_folder, rows.path, str(tmp_path / "logits"))])[0]
    objective = PredictionObjective(temperature=2.0, compat=compat)
    second = train(tmp_path / "second", first.model_folder, rows, objective, logits=logits)
    assert '"kd_ce"' in Path(second.history).read_text()
    one_head = save_model(tmp_path / "one", hidden=8, layers=2, heads=1)
    with pytest.raises(ConfigError, match="student has 1 heads and the teacher 2"):
        train(tmp_path / "refused", one_head, rows, features, **given)
