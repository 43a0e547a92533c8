"""Exported files of a model: what they are, how they were checked, how fast they are."""

from collections.abc import Sequence

from raykd.data import storage
from raykd.models import model_digest
from raykd.report.bootstrap import Verdict
from raykd.report.latency import Latency
from raykd.report.record import Record

FOLDER = "onnx"
"""Subfolder of a model's folder that holds its exports."""
INDEX = "export.json"


class Export(Record):
    """One exported file, measured against the model it was made from."""

    name: str
    """The model and the form."""
    file: str
    bytes_on_disk: int
    rows: int
    """Rows on which its logits were compared with the model's own."""
    largest_difference: float
    """Of any logit."""
    agreement: float
    """Fraction of rows on which it predicts what the model predicts."""
    against_float: Verdict | None = None
    """Headline metric of an int8 file minus the float file's on the run's validation rows; None where not compared."""
    latency: Latency


class Exports(Record):
    """All exports of one model; ``export.json`` is this."""

    digest: str
    """Hash of the model they were made from."""
    exports: tuple[Export, ...]


def write_exports(model: str, exports: Sequence[Export]) -> None:
    """Write ``export.json`` beside the files."""
    content = Exports(digest=model_digest(model), exports=tuple(exports))
    storage.write_bytes(storage.join(model, FOLDER, INDEX), content.model_dump_json(indent=1).encode())


def read_exports(model: str) -> tuple[Export, ...]:
    """The exports of a model folder; empty without exports of this very model."""
    path = storage.join(model, FOLDER, INDEX)
    if not storage.exists(path):
        return ()
    content = Exports.model_validate(storage.read_json(path))
    return content.exports if content.digest == model_digest(model) else ()
