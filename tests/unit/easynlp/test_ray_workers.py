"""Number and size of workers, before Ray is asked."""

import logging

import pytest

from raykd.easynlp.ray_workers import threads_per_worker, use_gpus
from raykd.easynlp.settings import Workers
from raykd.errors import ResourceError


def test_no_gpu_is_one_warning_and_the_cpu(caplog):
    with caplog.at_level(logging.WARNING):
        assert not use_gpus(Workers(1, gpu=True), available=0)
    assert [record.message for record in caplog.records] == [
        "--worker_gpu asks for a GPU, but there is none: running on the CPU"
    ]


def test_gpus_are_taken_where_asked_for(caplog):
    assert use_gpus(Workers(2, gpu=True), available=2)
    with caplog.at_level(logging.WARNING):
        assert not use_gpus(Workers(1, gpu=False), available=1)
    assert "--worker_gpu=1 uses it" in caplog.text


def test_too_few_gpus_are_an_error():
    with pytest.raises(ResourceError, match="asks for 4 GPUs, but there are 2"):
        use_gpus(Workers(4, gpu=True), available=2)


def test_workers_share_this_machine_but_not_an_unknown_one(monkeypatch):
    monkeypatch.setattr("raykd.easynlp.ray_workers.local_cores", lambda: 8)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert [threads_per_worker(count) for count in (1, 3, 16)] == [8, 2, 1]
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert threads_per_worker(1) == 1
