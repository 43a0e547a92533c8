"""Size of a model: parameters by part, and bytes."""

from raykd.models import count_parameters
from raykd.models.folders import folder_bytes
from raykd.report.record import Record


class Footprint(Record):
    """Size of one model, or of several together."""

    parameters: int
    """Numbers in its weights, from the files' headers."""
    embeddings: int
    """Those of the tables of tokens, positions and token types."""
    encoder: int
    """Those of the layers; pooler and classifier are in neither part."""
    bytes_on_disk: int
    """Bytes of its folder: weights, configuration and tokenizer."""


def footprint(*models: str) -> Footprint:
    """Size of a model folder, or of several together, without loading them. Raises ModelError without safetensors weights."""
    counts = [count_parameters(model) for model in models]
    return Footprint(
        parameters=sum(one.total for one in counts),
        embeddings=sum(one.embeddings for one in counts),
        encoder=sum(one.encoder for one in counts),
        bytes_on_disk=sum(folder_bytes(model) for model in models),
    )
