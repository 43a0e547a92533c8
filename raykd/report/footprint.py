"""Size of a model: parameters and bytes."""

import math

from raykd.models.folders import check_weights, folder_bytes, local_folder
from raykd.report.record import Record


class Footprint(Record):
    """Size of one model."""

    parameters: int
    """Numbers in its weights, from the files' headers."""
    bytes_on_disk: int
    """Bytes of its folder: weights, configuration and tokenizer."""


def footprint(*models: str) -> Footprint:
    """Size of a model folder, or of several together, without loading them. Raises ModelError without safetensors weights."""
    each = [_footprint(model) for model in models]
    return Footprint(parameters=sum(one.parameters for one in each), bytes_on_disk=sum(one.bytes_on_disk for one in each))


def _footprint(model: str) -> Footprint:
    from safetensors import safe_open

    parameters = 0
    with local_folder(model) as folder:
        for file in check_weights(folder):
            with safe_open(str(file), framework="numpy") as weights:
                for name in weights.keys():  # noqa: SIM118 - not a mapping
                    parameters += math.prod(weights.get_slice(name).get_shape())
    return Footprint(parameters=parameters, bytes_on_disk=folder_bytes(model))
