"""Losses as pure functions: tensors in, one fp32 number per row out (``[B]``). Formulas and papers: each docstring."""

from raykd.losses.binary_cross_entropy import bce, bce_kd
from raykd.losses.correlation import inter_class_correlation, intra_class_correlation
from raykd.losses.decoupled import non_target_class_kd, target_class_kd
from raykd.losses.domain import domain_expertise_weight, permuted_domains, prototype_score, reverse_gradient, wrong_domain_ce
from raykd.losses.intermediate import attention_mse, hidden_mse, relation_kl, vector_mse
from raykd.losses.pseudo_labels import pseudo_label_bce, pseudo_label_ce
from raykd.losses.reduce import keep, mean_over_tokens, valid_sum
from raykd.losses.soft_targets import cross_entropy, mse_logits, soft_target_kl
from raykd.losses.squared_error import squared_error

__all__ = [
    "attention_mse",
    "bce",
    "bce_kd",
    "cross_entropy",
    "domain_expertise_weight",
    "hidden_mse",
    "inter_class_correlation",
    "intra_class_correlation",
    "keep",
    "mean_over_tokens",
    "mse_logits",
    "non_target_class_kd",
    "permuted_domains",
    "prototype_score",
    "pseudo_label_bce",
    "pseudo_label_ce",
    "relation_kl",
    "reverse_gradient",
    "soft_target_kl",
    "squared_error",
    "target_class_kd",
    "valid_sum",
    "vector_mse",
    "wrong_domain_ce",
]
