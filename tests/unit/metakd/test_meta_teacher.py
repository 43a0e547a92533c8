"""The meta-teacher: its loss, and a folder that opens without raykd."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from raykd.errors import ConfigError, ModelError
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.domain_head import content, content_mask, load_domain_head
from raykd.metakd.meta_teacher import MetaTeacher
from raykd.models import unpad_rows
from raykd.trainers.auxiliary import Composite, save_modules, split_state
from tests.unit.metakd.features import DOMAINS, ROWS, gradients, make_batch, make_head, make_model, term_norms


def test_content_is_the_text_without_special_tokens_and_padding() -> None:
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]])
    assert content_mask(mask).int().tolist() == [[0, 1, 1, 0, 0, 0], [0] * 6, [0] * 6]
    states = torch.randn(3, 6, 4)
    torch.testing.assert_close(content(states, mask)[0], states[0, 1:3].mean(0))
    assert content(states, mask)[1:].abs().sum() == 0


@pytest.mark.parametrize("weigh_domain_loss", [False, True])
def test_the_loss_is_weighted_ce_and_a_wrong_domain(weigh_domain_loss: bool) -> None:
    objective = MetaTeacher(head=make_head(16, seed=1), domain_loss_weight=0.3, weigh_domain_loss=weigh_domain_loss)
    model, batch = Composite(make_model(), objective.trainable), make_batch()
    terms = objective(model, batch).terms
    output = model.model(**batch.model_inputs(), output_hidden_states=True)
    row, domains = content(output.hidden_states[-1], batch.attention_mask), batch.extras["domain_id"]
    log_q = objective.head.classifier(objective.head.feature(row, domains)).log_softmax(-1)
    wrong = torch.stack([-(log_q[i].sum() - log_q[i, domains[i]]) / (DOMAINS - 1) for i in range(ROWS)])
    score = batch.extras["weight"]
    torch.testing.assert_close(terms["ce"], score * F.cross_entropy(output.logits, batch.labels, reduction="none"))
    torch.testing.assert_close(terms["domain"], 0.3 * wrong * (score if weigh_domain_loss else 1))


def test_a_negative_weight_counts_as_zero_and_is_not_maximised() -> None:
    batch = make_batch(weights=[-0.3, 0.0, 0.5, 0.5, 0.5, 0.5])
    for negative_weights, expected in ((False, 0.0), (True, -0.3)):
        objective = MetaTeacher(head=make_head(16, seed=1), weigh_domain_loss=True, negative_weights=negative_weights)
        model = Composite(make_model(), objective.trainable)
        terms = objective(model, batch).terms
        logits = model.model(**batch.model_inputs()).logits
        assert batch.labels is not None
        plain = F.cross_entropy(logits, batch.labels, reduction="none")
        torch.testing.assert_close(terms["ce"][0], expected * plain[0])
        torch.testing.assert_close(terms["ce"][2], 0.5 * plain[2])
        assert terms["ce"][1] == terms["domain"][1] == 0


def test_gradient_reversal_trains_the_head_towards_and_the_encoder_away_from_domains() -> None:
    head = make_head(16, seed=1)
    reversed_, plain = (
        MetaTeacher(head=head, domain_loss=kind, weighted=False, domain_loss_weight=1.0)  # type: ignore[arg-type]  # a kind by name
        for kind in ("reversed", "permuted")
    )
    model, batch = Composite(make_model(), {DOMAIN_HEAD: head}), make_batch()
    ours = gradients(model, reversed_(model, batch).terms["domain"].sum())
    output = model.model(**batch.model_inputs(), output_hidden_states=True)
    domains = batch.extras["domain_id"]
    logits = head(content(output.hidden_states[-1], batch.attention_mask), domains)
    towards = gradients(model, F.cross_entropy(logits, domains, reduction="sum"))
    for name in ("auxiliary.domain_head.classifier.weight", "auxiliary.domain_head.corrupt_dense.weight"):
        torch.testing.assert_close(ours[name], towards[name])
    name = "model.bert.encoder.layer.1.output.dense.weight"
    torch.testing.assert_close(ours[name], -towards[name])
    with pytest.raises(ConfigError, match="permuted"):
        plain.check(num_labels=2, whole_batch=False)
    plain.check(num_labels=2, whole_batch=True)


def test_gradient_norms_of_terms_are_the_same_without_padding() -> None:
    objective = MetaTeacher(head=make_head(16, seed=1))
    model = Composite(make_model(), objective.trainable)
    padded = term_norms(objective, model)
    unpad_rows(model.model)
    torch.testing.assert_close(term_norms(objective, model, unpadded=True), padded)
    assert (padded > 0).all()


def test_the_folder_opens_with_transformers_alone(tmp_path: Path) -> None:
    """EasyNLP's folders opened as stock classifiers with random weights, without a word."""
    from transformers import AutoModelForSequenceClassification

    objective = MetaTeacher(head=make_head(16, seed=1))
    model, batch = Composite(make_model(), objective.trainable), make_batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    objective(model, batch).per_row.sum().backward()
    optimizer.step()
    own, auxiliary = split_state(model.state_dict().items(), objective.trainable)
    model.model.save_pretrained(tmp_path / "model", state_dict=own)
    save_modules(str(tmp_path), auxiliary)
    opened, report = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    inputs = batch.model_inputs()
    with torch.no_grad():
        torch.testing.assert_close(opened.eval()(**inputs).logits, model.model.eval()(**inputs).logits, rtol=0, atol=1e-6)
    head = load_domain_head(str(tmp_path / f"{DOMAIN_HEAD}.safetensors"), num_domains=DOMAINS, width=16)
    torch.testing.assert_close(dict(head.state_dict()), dict(objective.head.state_dict()))
    with pytest.raises(ModelError, match="no domain head of 4 domains"):
        load_domain_head(str(tmp_path / f"{DOMAIN_HEAD}.safetensors"), num_domains=4, width=16)
    with pytest.raises(ModelError, match="has no domain head"):
        load_domain_head(str(tmp_path / "nothing.safetensors"), num_domains=4, width=16)
