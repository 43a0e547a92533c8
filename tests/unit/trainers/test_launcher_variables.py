"""Ranks of a foreign launcher reach neither workers nor a process that trains alone."""

import os
from typing import Any

import pytest

from raykd.run import worker
from raykd.trainers.context import local_context


def test_a_process_that_trains_alone_does_not_see_them_and_has_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = {"LOCAL_RANK": "3", "WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "3", "SLURM_PROCID": "3"}
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    with local_context() as context:
        assert (context.rank, context.world_size) == (0, 1)
        assert not foreign.keys() & os.environ.keys()
    assert {name: os.environ[name] for name in foreign} == foreign


def test_a_worker_drops_them_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "1")  # Ray Train's own

    def first_look(_: Any) -> None:
        assert "OMPI_COMM_WORLD_LOCAL_RANK" not in os.environ
        assert os.environ["LOCAL_RANK"] == "1"
        raise InterruptedError

    monkeypatch.setattr(worker.torch, "set_num_threads", first_look)
    with pytest.raises(InterruptedError):
        worker.train_worker({"threads": 1})
