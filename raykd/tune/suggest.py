"""The trials that are left of a search, as Ray Tune asks for them."""

from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher

from raykd.config.search_space import Value


class Remaining(Searcher):  # type: ignore[misc]  # Ray's classes have no types
    """Hands out the trials of ``indices``, in order; their values are decided when each is asked for."""

    def __init__(self, indices: Sequence[int], values: Callable[[int], dict[str, Value]]) -> None:
        super().__init__()
        self._indices = list(indices)
        self._values = values

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: the journal is what a search continues from."""
        return {}

    def set_search_properties(self, *given: Any, **named: Any) -> bool:  # noqa: ARG002 (Tune's signature)
        """Nothing is left to be set."""
        return True

    def suggest(self, trial_id: str) -> Any:  # noqa: ARG002 (Tune's signature)
        """The next trial."""
        if not self._indices:
            return Searcher.FINISHED
        index = self._indices.pop(0)
        return {"index": index, "values": self._values(index)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """What came out is learnt from the journal, which knows of retries and of earlier runs too."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is what a search continues from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""
