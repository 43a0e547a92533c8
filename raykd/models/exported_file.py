"""Exported files of a model, of whatever format."""

from raykd.models.onnx import Forward, open_session, run_session
from raykd.models.openvino import open_openvino, weights_beside


def file_parts(file: str) -> list[str]:
    """The files that belong to an exported file, itself included."""
    return [weights_beside(file), file] if file.endswith(".xml") else [file]


def open_exported(file: str, *, threads: int = 1) -> Forward:
    """A function from tokenised batches to logits. Raises ModelError when the file cannot be opened."""
    if file.endswith(".xml"):
        return open_openvino(file, threads=threads)
    session = open_session(file, threads=threads)
    return lambda batch: run_session(session, batch)
