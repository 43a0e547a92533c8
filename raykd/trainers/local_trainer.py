"""Ray Train's trainer for a Ray of this machine alone, without the helper actors that such a Ray has no use for.

Each actor is a process that imports Ray Data and Ray Train: about two processor seconds, and the start of the workers waits for
three of them. The hooks are those of Ray 2.60; ``tests/unit/trainers/test_local_trainer.py`` fails where a version has others.
"""

from typing import Any

from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

_UNUSED = (DatasetsCallback, PlacementGroupCleanerCallback)
"""Callbacks with an actor each. The first splits datasets that a trainer was given, but raykd's tasks name their rows
themselves; the second frees the resources of a lost controller, which end with this Ray."""


class ContextCallback(DatasetsCallback):  # type: ignore[misc]  # an untyped base
    """Passes the settings of Ray Data on to the workers, and starts no actor."""

    def before_init_train_context(self, workers: list[Any]) -> dict[str, list[Any]]:  # noqa: ARG002 (Ray passes them by name)
        """No datasets."""
        return {}


class LocalTorchTrainer(TorchTrainer):  # type: ignore[misc]  # an untyped base
    """``TorchTrainer`` with the controller and the workers, but without actors for datasets and placement groups."""

    def _create_default_callbacks(self) -> list[Any]:
        kept = [one for one in super()._create_default_callbacks() if not isinstance(one, _UNUSED)]
        return [*kept, ContextCallback(train_run_context=self.train_run_context, datasets={})]
