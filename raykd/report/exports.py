"""Exported files of a model: what they are, how they were checked, how fast they are."""

from collections.abc import Mapping, Sequence
from typing import Literal

from raykd.data import storage
from raykd.models import model_digest
from raykd.report.bootstrap import Verdict
from raykd.report.latency import Latency
from raykd.report.record import Record

ExportFormat = Literal["onnx", "openvino"]
"""Also the name of the subfolder of a model's folder that holds the exports."""
INDEX = "export.json"
FILE_NAMES: Mapping[ExportFormat, str] = {"onnx": "model.onnx", "openvino": "openvino_model.xml"}


class Export(Record):
    """One exported file, measured against the model it was made from."""

    name: str
    """The model and the form."""
    file: str
    int8: bool = False
    """True for an ONNX file with 8-bit weights."""
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
    """All exports of one model in one format; ``export.json`` is this."""

    digest: str
    """Hash of the model they were made from."""
    exports: tuple[Export, ...]


def export_path(model: str, form: ExportFormat, *, int8: bool = False) -> str:
    """Path of an exported file in a model folder; ``int8`` is a form of ONNX files."""
    return storage.join(model, form, "model_int8.onnx" if int8 else FILE_NAMES[form])


def index_path(model: str, form: ExportFormat) -> str:
    """Path of ``export.json``."""
    return storage.join(model, form, INDEX)


def write_exports(model: str, form: ExportFormat, exports: Sequence[Export]) -> None:
    """Write ``export.json`` beside the files of a format."""
    content = Exports(digest=model_digest(model), exports=tuple(exports))
    storage.write_bytes(index_path(model, form), content.model_dump_json(indent=1).encode())


def read_exports(model: str) -> tuple[Export, ...]:
    """The exports of a model folder in all formats; empty without exports of this very model."""
    paths = [path for form in FILE_NAMES if storage.exists(path := index_path(model, form))]
    if not paths:
        return ()
    digest, found = model_digest(model), [Exports.model_validate(storage.read_json(path)) for path in paths]
    return tuple(one for content in found if content.digest == digest for one in content.exports)
