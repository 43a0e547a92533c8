"""Steps, windows and pools of an epoch: the arithmetic that all plans of batches share."""

POOL_ROWS = 32_768
"""Rows shuffled together, rounded up to whole windows: 16 row groups, so a file sorted by label still gives mixed batches."""


class EpochSteps:
    """Epochs of equal length in steps; steps are grouped into windows, and windows into pools."""

    def __init__(self, total: int, *, batch_size: int, window: int) -> None:
        """``total`` rows an epoch, in batches of ``batch_size`` over all ranks; ``window`` is in batches."""
        self._total, self._batch_size, self._window = total, batch_size, window
        self._windows_per_pool = max(1, -(-POOL_ROWS // (window * batch_size)))

    @property
    def batches_per_epoch(self) -> int:
        """Steps of one epoch."""
        return -(-self._total // self._batch_size)

    @property
    def windows_per_epoch(self) -> int:
        """Windows of one epoch; the last may be short."""
        return -(-self.batches_per_epoch // self._window)

    @property
    def windows_per_pool(self) -> int:
        """Consecutive windows whose rows come from the same row groups: the unit to read in."""
        return self._windows_per_pool

    @property
    def pools_per_epoch(self) -> int:
        """Pools of one epoch; the last may be short."""
        return -(-self.windows_per_epoch // self._windows_per_pool)

    def epoch_of(self, step: int) -> int:
        """Epoch that a step belongs to."""
        return step // self.batches_per_epoch

    def window_of(self, step: int) -> int:
        """Window, numbered in its epoch, that a step belongs to."""
        return step % self.batches_per_epoch // self._window

    def check_window(self, w: int) -> None:
        """Raise IndexError when an epoch has no window w."""
        if not 0 <= w < self.windows_per_epoch:
            raise IndexError(f"window {w} does not exist; an epoch has windows 0 to {self.windows_per_epoch - 1}")
