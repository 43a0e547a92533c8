"""Errors on a worker: which are retried, and what is said of those that are not."""

import pytest
import torch
import torch.distributed as dist

from raykd.run.worker import is_permanent, permanent_message


@pytest.mark.parametrize(
    "error",
    [
        IndexError("index out of range in self"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x32 and 16x2)"),
        ValueError("too many values"),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
)
def test_errors_of_model_and_data_are_not_retried_as_lost_workers(error: Exception) -> None:
    assert is_permanent(error)
    said = permanent_message(error)
    assert type(error).__name__ in said
    memory = isinstance(error, torch.OutOfMemoryError)
    assert ("lower training.micro_batch_size" if memory else "another attempt would fail alike") in said


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1234"),
        dist.DistBackendError("NCCL communicator was aborted"),
        ConnectionResetError(104, "Connection reset by peer"),
        OSError(5, "Input/output error"),
    ],
)
def test_lost_peers_and_storage_are_retried(error: Exception) -> None:
    assert not is_permanent(error)


def test_an_error_names_the_line_that_raised_it() -> None:
    with pytest.raises(IndexError) as caught:
        torch.nn.functional.embedding(torch.tensor([9]), torch.zeros(3, 2))
    assert "functional.py, line " in permanent_message(caught.value)
