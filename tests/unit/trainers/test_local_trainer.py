from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.worker_group import WorkerGroup

from raykd.trainers.local_trainer import LocalTorchTrainer


def callbacks(trainer: type[TorchTrainer]) -> set[str]:
    built = trainer(
        lambda: None, scaling_config=ScalingConfig(num_workers=1), run_config=RunConfig(name="x", storage_path="/tmp")
    )
    return {type(one).__name__ for one in built._create_default_callbacks()}


def test_a_local_trainer_starts_no_actor_for_datasets_and_placement_groups() -> None:
    plain, local = callbacks(TorchTrainer), callbacks(LocalTorchTrainer)
    assert {"DatasetsCallback", "PlacementGroupCleanerCallback"} <= plain, "this version of Ray Train has other callbacks"
    assert local == plain - {"DatasetsCallback", "PlacementGroupCleanerCallback"} | {"ContextCallback"}


def test_workers_of_a_local_trainer_get_the_settings_of_ray_data_alone() -> None:
    built = LocalTorchTrainer(
        lambda: None, scaling_config=ScalingConfig(num_workers=2), run_config=RunConfig(name="x", storage_path="/tmp")
    )
    (context,) = [one for one in built._create_default_callbacks() if type(one).__name__ == "ContextCallback"]
    assert context.before_init_train_context([None, None]) == {}
    assert hasattr(context, "after_worker_group_start"), "passes the settings on"


def test_this_version_of_ray_train_has_the_hooks_for_the_controller_and_its_workers() -> None:
    assert callable(getattr(TorchTrainer, "_initialize_and_run_controller", None))
    assert callable(getattr(WorkerGroup, "_get_worker_runtime_env", None))
