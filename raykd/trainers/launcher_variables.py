"""Environment variables of launchers that raykd did not start with: MPI, Slurm, torchrun.

DeepSpeed and torch read ranks from them. A command that runs under ``mpirun`` or ``srun`` hands them down to every worker,
where they contradict the ranks that Ray Train gives.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

FOREIGN = ("OMPI_", "PMIX_", "PMI_", "MPI_", "I_MPI_", "MV2_", "HYDRA_", "SLURM_", "SLURMD_")
"""Prefixes of the variables of foreign launchers."""
TORCH = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Variables that torchrun sets, and Ray Train in its own workers."""


def drop_foreign_launchers() -> dict[str, str]:
    """Remove foreign launchers' variables from this process; return those that were set."""
    return {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(FOREIGN)}


@contextmanager
def without_launchers() -> Iterator[None]:
    """Hide the variables of all launchers, torchrun's too, while this process trains alone."""
    before = drop_foreign_launchers() | {name: os.environ.pop(name) for name in TORCH if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)
