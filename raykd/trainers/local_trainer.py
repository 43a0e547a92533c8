"""Ray Train's trainer for a Ray of this machine alone, without helper actors and runtime environments.

Ray Train passes variables on to its actors by a runtime environment. Such a process takes seconds longer to start: another
process of Ray's prepares it, and it does not come from the fork server (:mod:`raykd.fork_server`). The processes of a local
Ray have the variables that the command had when Ray started; the controller gets the present ones as an argument. The hooks
are those of Ray 2.60; ``tests/unit/trainers/test_local_trainer.py`` fails where a version has others.
"""

import os
from typing import Any

import ray
from ray.train import Result
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import WorkerGroup

_UNUSED = (DatasetsCallback, PlacementGroupCleanerCallback)
"""Callbacks with an actor each. The first splits datasets that a trainer was given, but raykd's tasks name their rows
themselves; the second frees the resources of a lost controller, which end with this Ray."""


class ContextCallback(DatasetsCallback):  # type: ignore[misc]  # an untyped base
    """Passes the settings of Ray Data on to the workers, and starts no actor."""

    def before_init_train_context(self, workers: list[Any]) -> dict[str, list[Any]]:  # noqa: ARG002 (Ray passes them by name)
        """No datasets."""
        return {}


class LocalController(TrainController):  # type: ignore[misc]  # an untyped base
    """Ray Train's controller. Its workers have the environment of Ray's processes and no other, unless they ask for one."""

    def __init__(self, *, variables: dict[str, str], **settings: Any) -> None:
        """Set the command's ``variables`` for Ray Train, which may be others than when Ray started, in this process."""
        os.environ.update(variables)
        WorkerGroup._get_worker_runtime_env = staticmethod(lambda custom_runtime_env: custom_runtime_env)
        super().__init__(**settings)


class LocalTorchTrainer(TorchTrainer):  # type: ignore[misc]  # an untyped base
    """``TorchTrainer`` with the controller and the workers, but without actors for datasets and placement groups."""

    def _initialize_and_run_controller(self, **settings: Any) -> Result:
        variables = get_env_vars_to_propagate()
        controller = ray.remote(num_cpus=0)(LocalController).remote(variables=variables, **settings)
        ray.get(controller.run.remote())
        return ray.get(controller.get_result.remote())

    def _create_default_callbacks(self) -> list[Any]:
        kept = [one for one in super()._create_default_callbacks() if not isinstance(one, _UNUSED)]
        return [*kept, ContextCallback(train_run_context=self.train_run_context, datasets={})]
