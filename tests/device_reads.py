"""Operations by which a program on a GPU would wait for it, counted where it runs on a CPU."""

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

READS = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim"}
"""ATen operations whose result the host needs: a number, or the size of a tensor."""


class DeviceReads(TorchDispatchMode):
    """Counts :data:`READS`, and indexing by a mask, while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(index is not None and index.dtype == torch.bool for index in args[1])
        if name in READS or by_mask:
            self.counts[name] += 1
        return func(*args, **kwargs or {})
