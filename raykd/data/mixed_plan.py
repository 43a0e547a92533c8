"""Global batches with a fixed share of unlabelled rows: two plans, one over each kind of rows, taken step by step."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.data.batch_plan import BatchPlan, PlannedBatch, philox_permutation
from raykd.data.epoch_steps import EpochSteps
from raykd.errors import ConfigError


def unlabelled_rows(batch_size: int, fraction: float) -> int:
    """Unlabelled rows of each global batch; at least one row of either kind. Raises ConfigError for a batch of one row."""
    if batch_size < 2:
        raise ConfigError("data.unlabelled_fraction needs batches of labelled and unlabelled rows: set batch_size to 2 or more")
    return min(max(round(fraction * batch_size), 1), batch_size - 1)


def check_rows(labelled: int, unlabelled: int, *, batch_size: int, fraction: float) -> None:
    """Raise ConfigError when one batch would repeat a row, since there are fewer rows of a kind than it takes."""
    taken = unlabelled_rows(batch_size, fraction)
    for kind, given, needed in (("labelled", labelled, batch_size - taken), ("unlabelled", unlabelled, taken)):
        if given < needed:
            raise ConfigError(
                f"data.unlabelled_fraction = {fraction:g} takes {needed} {kind} rows for each batch of {batch_size}, but there "
                f"are {given}; {'raise' if kind == 'labelled' else 'lower'} it, or lower batch_size"
            )


class MixedPlan(EpochSteps):
    """Every global batch has the same numbers of labelled and of unlabelled rows.

    An epoch has as many steps as without a fixed share: all rows over the batch size. Rows of the kind with fewer rows than
    its share therefore return within an epoch, and some of the other kind wait for a later one; each kind is passed over
    whole, but for the last rows of a pass that do not fill their part of a batch. A pure function of the same values as
    :class:`BatchPlan` and of ``fraction``.
    """

    def __init__(
        self,
        group_rows: NDArray[np.int64],
        lengths: Callable[[int], NDArray[Any]],
        *,
        labelled_groups: int,
        fraction: float,
        seed: int,
        batch_size: int,
        window: int = 64,
        fingerprint: str,
    ) -> None:
        """Plan over row groups of which ``labelled_groups`` have labels, the first ones. Raises ConfigError."""
        rows = np.asarray(group_rows, dtype=np.int64)
        self._first = labelled_groups
        super().__init__(int(rows.sum()), batch_size=batch_size, window=window)
        self._key = f"{fingerprint}:{seed}"
        taken = unlabelled_rows(batch_size, fraction)
        halves = rows[:labelled_groups], rows[labelled_groups:]
        check_rows(int(halves[0].sum()), int(halves[1].sum()), batch_size=batch_size, fraction=fraction)
        settings: dict[str, Any] = {"seed": seed, "window": window, "whole_batches": True}
        self._labelled = BatchPlan(
            halves[0], lengths, batch_size=batch_size - taken, fingerprint=f"{fingerprint}:labelled", **settings
        )
        self._unlabelled = BatchPlan(
            halves[1], lambda group: lengths(group + labelled_groups), batch_size=taken,
            fingerprint=f"{fingerprint}:unlabelled", **settings,
        )  # fmt: skip

    def num_rows(self, step: int) -> int:  # noqa: ARG002 (the same for every step)
        """Rows of the global batch of a step."""
        return self._batch_size

    def window(self, epoch: int, w: int) -> list[PlannedBatch]:
        """The batches of window w of an epoch, in order. Raises IndexError when the epoch has no such window.

        The parts of both kinds are joined by their lengths, so that short texts are not padded to long ones.
        """
        self.check_window(w)
        first = epoch * self.batches_per_epoch + w * self._window
        stop = min(first + self._window, (epoch + 1) * self.batches_per_epoch)
        parts = [
            sorted(plan.batches(first, stop), key=lambda part: part.longest) for plan in (self._labelled, self._unlabelled)
        ]
        order = philox_permutation(f"{self._key}:pairs:{epoch}:{w}", stop - first)
        return [
            self._joined(parts[0][pair], parts[1][pair], epoch=epoch, index=w * self._window + place, step=first + place)
            for place, pair in enumerate(order)
        ]

    def _joined(self, labelled: PlannedBatch, unlabelled: PlannedBatch, *, epoch: int, index: int, step: int) -> PlannedBatch:
        """Both parts as one batch, in an order that gives every rank rows of both."""
        order = philox_permutation(f"{self._key}:kinds:{step}", self._batch_size)
        return replace(
            labelled,
            epoch=epoch,
            index=index,
            step=step,
            groups=np.concatenate([labelled.groups, unlabelled.groups + np.int32(self._first)])[order],
            offsets=np.concatenate([labelled.offsets, unlabelled.offsets])[order],
            longest=max(labelled.longest, unlabelled.longest),
        )
