"""A cluster without a free CPU."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def every_cpu_taken() -> Iterator[None]:
    """Somebody else's bundle, with all that the cluster has."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    bundle = placement_group([{"CPU": ray.cluster_resources()["CPU"]}])
    ray.get(bundle.ready(), timeout=120)
    try:
        yield
    finally:
        remove_placement_group(bundle)
