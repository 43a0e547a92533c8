"""Model selection: the best weights on the validation set, and early stopping by patience."""

from dataclasses import asdict, dataclass
from typing import Any

from raykd.errors import ConfigError


@dataclass
class ModelSelection:
    """Best value so far of one metric, in the metric's own direction; the loss breaks ties."""

    metric: str
    """Name of the metric."""
    smaller_is_better: bool = False
    """Direction of the metric."""
    patience: int | None = None
    """Evaluations without a better value before :attr:`exhausted`; None disables early stopping."""
    best: float | None = None
    best_loss: float = float("inf")
    """Loss at the best value: of two equally accurate models, the better calibrated one is the better teacher."""
    best_step: int = 0
    without_gain: int = 0
    """Evaluations since the best value."""

    def update(self, step: int, metrics: dict[str, float]) -> bool:
        """Take in an evaluation; return true when it is the best so far. A full tie keeps the earlier one.

        Raises ConfigError for a metric that is not among ``metrics``.
        """
        if self.metric not in metrics:
            raise ConfigError(f"training.metric = {self.metric!r}: evaluations have {', '.join(sorted(metrics))}")
        value, loss = metrics[self.metric], metrics["loss"]
        sign = -1 if self.smaller_is_better else 1
        better = self.best is None or (sign * value, -loss) > (sign * self.best, -self.best_loss)
        self.without_gain = 0 if better else self.without_gain + 1
        if better:
            self.best, self.best_loss, self.best_step = value, loss, step
        return better

    @property
    def exhausted(self) -> bool:
        """True when patience has run out."""
        return self.patience is not None and self.without_gain >= self.patience

    @property
    def summary(self) -> dict[str, float]:
        """The best value and its step, under the names that trackers show."""
        best = {} if self.best is None else {f"best/{self.metric}": self.best}
        return {**best, "best/step": float(self.best_step)}

    def state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        kept = asdict(self)
        del kept["metric"], kept["smaller_is_better"], kept["patience"]
        return kept

    def load(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint's :meth:`state`."""
        for name, value in state.items():
            setattr(self, name, value)
