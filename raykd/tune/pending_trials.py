"""Ray Tune's source of trials: those of a search that have not ended."""

from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher

from raykd.config.search_space import Value


class PendingTrials(Searcher):  # type: ignore[misc]  # Ray's classes have no types
    """Hands out the trials ``indices`` in order; the values of each are drawn when it is asked for."""

    def __init__(self, indices: Sequence[int], values: Callable[[int], dict[str, Value]]) -> None:
        super().__init__()
        self._indices = list(indices)
        self._values = values

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: a search resumes from its journal."""
        return {}

    def set_search_properties(self, *given: Any, **named: Any) -> bool:  # noqa: ARG002 (Tune's signature)
        """Accept; there is nothing to set."""
        return True

    def suggest(self, trial_id: str) -> Any:  # noqa: ARG002 (Tune's signature)
        """Return the next trial."""
        if not self._indices:
            return Searcher.FINISHED
        index = self._indices.pop(0)
        return {"index": index, "values": self._values(index)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: results are learnt from the journal, which also has retries and earlier runs."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: a search resumes from its journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing."""
