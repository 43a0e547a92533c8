"""Two workers train although the command ran under a foreign launcher, whose variables say that both are rank 0."""

import os

import torch.distributed as dist

from raykd.trainers.launcher_variables import drop_foreign_launchers
from tests.distributed.tiny_training import make_engine
from tests.helpers import run_distributed

MPI = {"OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1", "SLURM_PROCID": "0", "PMI_RANK": "0"}


def body() -> tuple[dict[str, str], str, str | None]:
    os.environ.update(MPI)
    dropped = drop_foreign_launchers()
    engine = make_engine("deepspeed-zero1")  # refuses ranks that contradict each other
    engine.close()
    return dropped, os.environ["LOCAL_RANK"], os.environ.get("OMPI_COMM_WORLD_LOCAL_RANK")


def test_foreign_launchers_do_not_reach_deepspeed() -> None:
    assert run_distributed(body, 2) == [(MPI, "0", None), (MPI, "1", None)]
    assert not dist.is_initialized()
