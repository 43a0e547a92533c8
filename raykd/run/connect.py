"""Ray for one run: this machine's, or the cluster's that the command runs on."""

from raykd.cluster import DATA_CPUS, require_shared
from raykd.config import ComputeConfig
from raykd.session import start_ray

STALE_SECONDS = 30.0
"""For workers whose number may change to find a place: Ray looks every 20 s which nodes there are, so a longer wait is for one
that has left. The number is then chosen anew."""


def connect(compute: ComputeConfig, folder: str, *, groups: int = 1) -> bool:
    """Bring Ray up, if it is not; whether this call did. ``folder`` is where the run's results go.

    A Ray of this machine's own gets places for ``groups`` groups of workers.

    Raises ResourceError when the cluster cannot be reached, or some of its nodes do not see the folder.
    """
    started = start_ray(
        num_cpus=(groups * compute.max_workers + compute.prediction_actors) * compute.cpus_per_worker + groups * DATA_CPUS,
        start_timeout_s=compute.start_timeout_s,
        workers_timeout_s=min(compute.start_timeout_s, STALE_SECONDS) if compute.elastic else None,
        collective_timeout_s=compute.collective_timeout_s,
    )
    if started:
        require_shared(folder)
    return started
