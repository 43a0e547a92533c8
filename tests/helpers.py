"""Run a function in several processes that form one gloo process group."""

import gc
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

TIMEOUT_S = 300
PRELOADED = ("torch", "deepspeed", "transformers.modeling_utils", "transformers.models.bert.modeling_bert")
"""Modules that every rank needs, imported once by the server that ranks are forked from."""


class RankError(AssertionError):
    """A rank raised; carries its traceback."""


def run_distributed(function: Callable[..., Any], world_size: int, *args: Any) -> list[Any]:
    """``function(*args)`` on each of ``world_size`` new processes; their results in rank order.

    ``function`` lies at the top of a module and calls ``dist.get_rank()`` for its rank; results travel by pickle.
    The first rank that raises ends the others and is raised here, as RankError with its traceback.
    """
    ranks = _fork_server()
    with tempfile.TemporaryDirectory(prefix="raykd-ranks-") as folder:
        pairs = [ranks.Pipe(duplex=False) for _ in range(world_size)]
        processes: list[BaseProcess] = [
            ranks.Process(target=_rank, args=(pairs[rank][1], rank, world_size, folder, (function, args)), daemon=True)
            for rank in range(world_size)
        ]
        try:
            for process, (_, sender) in zip(processes, pairs, strict=True):
                process.start()
                sender.close()
            return _collect([receiver for receiver, _ in pairs])
        finally:
            for process in processes:
                if process.is_alive():
                    process.kill()
                process.join()


def _fork_server() -> ForkServerContext:
    """Processes are forked from a server of one thread, which has imported what takes most of their start."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read by DeepSpeed's import
    ranks = get_context("forkserver")
    ranks.set_forkserver_preload(list(PRELOADED))
    return ranks


def _collect(receivers: list[Connection]) -> list[Any]:
    results: dict[int, Any] = {}
    deadline = time.monotonic() + TIMEOUT_S
    while len(results) < len(receivers):
        pending = [receiver for rank, receiver in enumerate(receivers) if rank not in results]
        ready = wait(pending, timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            raise RankError(f"ranks {[receivers.index(r) for r in pending]} gave no result within {TIMEOUT_S} s")
        for receiver in ready:
            rank = receivers.index(receiver)
            try:
                results[rank], trace = receiver.recv()
            except EOFError:
                raise RankError(f"rank {rank} died without a traceback") from None
            if trace is not None:
                raise RankError(f"rank {rank} of {len(receivers)}:\n{trace}")
    return [results[rank] for rank in range(len(receivers))]


def _rank(sender: Connection, rank: int, world: int, folder: str, task: tuple[Callable[..., Any], tuple[Any, ...]]) -> None:
    function, args = task
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), DS_ACCELERATOR="cpu")
    try:
        import torch
        import torch.distributed as dist

        gc.freeze()  # the objects of the imports are there to stay: collections pass over them
        torch.set_num_threads(1)
        store = dist.FileStore(str(Path(folder) / "store"), world)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=timedelta(seconds=TIMEOUT_S))
        result = function(*args)
        dist.barrier()  # a rank that leaves early would break the others' last collective
        sender.send((result, None))
        dist.destroy_process_group()
    except BaseException:
        sender.send((None, traceback.format_exc()))
