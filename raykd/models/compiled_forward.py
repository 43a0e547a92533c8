"""Forward and backward passes compiled by ``torch.compile``, for the training of one model."""

import functools
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from raykd.errors import ConfigError

BACKEND = "inductor"
"""Compiler of the graphs: C++ for CPUs, Triton for GPUs."""
GRAPHS = 1024
"""Limit of the graphs of one model, above which torch runs the rest uncompiled: more than a training has shapes."""


def compile_training(model: Any, *, min_rows: int) -> None:
    """Compile ``model.forward`` for training mode, in place: one graph for each number of rows, length and use of a mask.

    Batches are padded to multiples of 8 tokens, so shapes are few, and static ones are fastest. Batches of fewer than
    ``min_rows`` rows (the last one of an epoch) and evaluation run uncompiled: they would need graphs for a few uses. So do
    passes whose hidden states are read, which transformers collects by hooks that ``torch.compile`` cannot follow. Rows are
    counted in the first tensor that is given, by position or by name.
    Names of parameters stay the same, unlike those of the module that ``torch.compile(model)`` returns.
    """
    import torch

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
    torch._dynamo.config.accumulated_recompile_limit = max(torch._dynamo.config.accumulated_recompile_limit, GRAPHS)
    eager = model.forward
    compiled = torch.compile(eager, dynamic=False, backend=BACKEND)

    @functools.wraps(eager)  # transformers and raykd read its signature
    def forward(*arguments: Any, **inputs: Any) -> Any:
        plain = not inputs.get("output_hidden_states")
        rows = next((len(one) for one in (*arguments, *inputs.values()) if isinstance(one, torch.Tensor) and one.dim()), 0)
        is_compiled = model.training and plain and rows >= min_rows
        return (compiled if is_compiled else eager)(*arguments, **inputs)

    model.forward = forward


def check_compiler(*, on_gpu: bool | None) -> None:
    """Raise ConfigError where this machine cannot compile for its CPU; ``on_gpu`` None asks torch for a GPU."""
    if on_gpu or not (missing := _missing_for_cpus()) or (on_gpu is None and _has_gpu()):
        return
    raise ConfigError(
        f"compute.compile = true on a CPU needs {missing}, which is absent here; install it, or set compute.compile to false"
    )


def _missing_for_cpus() -> str | None:
    """A part of the build tools that is absent; torch's CPU code is C++ that includes Python's headers."""
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        return f"a C++ compiler ({compiler}, or the one that CXX names)"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "the header Python.h (a package such as python3-dev)"
    return None


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
