"""The meta-teacher's objective: weighted cross entropy, and the domain-adversarial loss on a domain head."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from raykd.config.metakd_objectives import DomainLoss
from raykd.data.batch import Batch
from raykd.errors import ConfigError, DataError
from raykd.losses import cross_entropy, keep, permuted_domains, reverse_gradient, wrong_domain_ce
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.domain_head import DomainHead, content
from raykd.metakd.prototypes import DOMAIN_ID, WEIGHT
from raykd.models import first_layer_input
from raykd.trainers.features.feature_kd import valid_terms
from raykd.trainers.gradient_norms import ReportNorms, term_gradient_norms
from raykd.trainers.objective import Objective, ObjectiveOutput, valid_labels


def side_column(batch: Batch, name: str) -> Tensor:
    """A side column of the batch ``[B]``, 0 where a row is not valid. Raises DataError when the rows lack it."""
    if name not in batch.extras:
        raise DataError(f"the objective reads the column {name!r}, but the rows come without it; join the table of weights")
    return keep(batch.extras[name], batch.valid)


@dataclass(frozen=True, eq=False, kw_only=True)
class MetaTeacher(Objective):
    """``t · CE + gamma · L_DA``; Pan et al. 2021, arXiv:2012.01266. Terms: ``ce``, ``domain``."""

    head: DomainHead
    """Domain head, trained with the model and stored in its own file."""
    domain_loss_weight: float = 0.5
    """gamma."""
    domain_loss: DomainLoss = "wrong"
    """wrong: uniform over the other domains; permuted: EasyNLP's draw within the batch; reversed: gradient reversal."""
    weighted: bool = True
    """Weight the cross entropy by the rows' scores t."""
    weigh_domain_loss: bool = False
    """Weight L_DA by them too, as in EasyNLP."""
    negative_weights: bool = False
    """Multiply by scores below 0 as they are, as EasyNLP does, which maximises a row's loss; by default they count as 0."""

    @property
    def side_columns(self) -> tuple[str, ...]:
        """Scores and domain ids."""
        return (WEIGHT, DOMAIN_ID)

    @property
    def trainable(self) -> Mapping[str, nn.Module]:
        """The domain head."""
        return {DOMAIN_HEAD: self.head}

    def check(self, *, num_labels: int, whole_batch: bool) -> None:
        """Raise ConfigError for permuted domains in a batch that is cut: the labels would depend on how."""
        del num_labels
        if self.domain_loss == "permuted" and not whole_batch:
            raise ConfigError(
                "domain_loss = permuted draws among the rows of a whole batch, but batches are cut over workers or by "
                "micro_batch_size; train on one worker without micro_batch_size, or take domain_loss = wrong"
            )

    def content(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        """Input of the domain head: :func:`raykd.metakd.domain_head.content`."""
        return content(hidden_states, attention_mask)

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """One forward pass of the :class:`~raykd.trainers.auxiliary.Composite` of the classifier and the head."""
        return ObjectiveOutput(model(run=self._forward, batch=batch, **batch.model_inputs()))

    def _forward(
        self,
        model: nn.Module,
        auxiliary: nn.ModuleDict,
        *,
        batch: Batch,
        report_norms: ReportNorms | None = None,
        **inputs: Tensor,
    ) -> dict[str, Tensor]:
        output = model(**inputs, output_hidden_states=True)
        row = self.content(output.hidden_states[-1], batch.attention_mask)
        if self.domain_loss == "reversed":
            row = reverse_gradient(row)
        domains, score = side_column(batch, DOMAIN_ID), side_column(batch, WEIGHT)
        score = score if self.negative_weights else score.clamp_min(0)
        ce = cross_entropy(keep(output.logits, batch.valid), valid_labels(batch))
        domain = self.domain_loss_weight * self._domain_loss(keep(auxiliary[DOMAIN_HEAD](row, domains), batch.valid), domains)
        terms = valid_terms(
            {"ce": score * ce if self.weighted else ce, "domain": score * domain if self.weigh_domain_loss else domain}, batch
        )
        if report_norms is not None:
            report_norms(term_gradient_norms(terms, at=first_layer_input(output.hidden_states)))
        return terms

    def _domain_loss(self, logits: Tensor, domains: Tensor) -> Tensor:
        if self.domain_loss == "wrong":
            return wrong_domain_ce(logits, domains)
        return cross_entropy(logits, permuted_domains(domains) if self.domain_loss == "permuted" else domains)
