"""Augmented views of the training rows."""

from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from raykd.config.paths import ModelRef
from raykd.config.section import Section
from raykd.config.student import StudentVariant


class AugmentConfig(Section):
    """Changed copies of the training texts, each with the teacher's own answer, for variants with `augment: true`; Tang et al.
    2019, arXiv:1903.12136. Labelled and unlabelled rows have views; validation and test rows have none.
    """

    views: int = Field(4, ge=1, le=1000)
    """Views of each row; equal ones are dropped. Of a pair of texts, each view changes one."""
    mask: float = Field(0.1, ge=0, le=1)
    """Probability that a word is replaced by the tokenizer's mask token, or by a word that `masked_lm` predicts."""
    drop: float = Field(0.1, ge=0, le=1)
    """Probability that a word is left out."""
    ngram: float = Field(0.25, ge=0, le=1)
    """Probability that only 1 to 5 consecutive words of the result are kept."""
    masked_lm: ModelRef | None = None
    """Masked language model whose 15 most probable words replace masked words, one of them at random (TinyBERT, Jiao et al.
    2020, arXiv:1909.10351); null keeps the mask token."""
    seed: int = Field(1, ge=0)
    """Seed of the changes; a view follows from it, the row's name and the view's number."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mask + self.drop > 1:
            raise ValueError(f"augment.mask = {self.mask} and augment.drop = {self.drop} add up to more than 1; lower one")
        if not (self.mask or self.drop or self.ngram):
            raise ValueError("augment.mask, augment.drop and augment.ngram are 0, so that no view differs; raise one of them")
        if self.masked_lm is not None and not self.mask:
            raise ValueError("augment.masked_lm replaces masked words, but augment.mask = 0; raise it, or leave masked_lm out")
        return self


def check_augment(augment: AugmentConfig | None, variants: Sequence[StudentVariant]) -> None:
    """Raise ValueError for views that no variant reads, or that a variant cannot read."""
    augmented = [one for one in variants if one.augment]
    if augmented and augment is None:
        raise ValueError(
            f"student.variants.{augmented[0].name}.augment = true, but there is no section augment; add it (augment: "
            "{views: 4}), or leave the key out"
        )
    if augment is not None and not augmented:
        raise ValueError(
            "augment is given, but no variant trains on views; set augment: true in one of student.variants, or remove it"
        )
    for one in augmented:
        objective = one.student.objective
        if not objective.distils:
            raise ValueError(
                f"student.variants.{one.name}.augment = true, but {one.key('objective')}.kind = {objective.kind} learns from "
                "labels, which views have none of; choose a kind that distils"
            )


def check_scored_rows(key: str, *, logits_file: str | None, distils: bool) -> None:
    """Raise ValueError where no teacher scores the rows that a key adds."""
    if logits_file is not None:
        raise ValueError(
            f"{key} needs a teacher that scores its rows, but logits.file = {logits_file} has logits of data.train alone; "
            f"give a teacher instead, or leave {key} out"
        )
    if not distils:
        raise ValueError(
            f"{key} is learnt from a teacher's answers, but no student distils from a teacher; give a teacher and an objective "
            f"that distils (vanilla_kd), or leave {key} out"
        )
