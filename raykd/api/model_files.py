"""``raykd.export`` and ``raykd.shrink``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from raykd.config.paths import expand_home

if TYPE_CHECKING:
    from raykd.report.exports import Export


def export(model: str | os.PathLike[str], *, form: str = "onnx", int8: bool = False, tolerance: float = 0.5) -> list[Export]:
    """Export a trained model to ``MODEL/onnx``, checked against its own logits, as ``raykd export`` does.

    ``form`` is ``onnx``, or ``openvino`` for ``MODEL/openvino``. ``int8`` also writes an ONNX file with 8-bit weights;
    ``tolerance`` are the points of the headline metric that the lower end of its 95% interval on the run's validation rows may
    lie below the float file. Returns the files with their measurements. Raises RaykdError; Int8RefusedError, after the float
    file is there, when the 8-bit file may be worse than that.
    """
    from raykd.api.notebook_terminal import call_terminal
    from raykd.model_export import export as export_model

    return export_model(
        expand_home(os.fspath(model), "model"), form=form, int8=int8, terminal=call_terminal(), tolerance=tolerance
    )


def shrink(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    layers: Sequence[int] | None = None,
    text: Sequence[str] = (),
    min_count: int | None = None,
) -> str:
    """Write a smaller model to ``out`` and return its path, as ``raykd shrink`` does.

    ``layers`` are the encoder layers to keep, numbered from 0; ``text`` names files or globs whose tokens are kept, those that
    stand ``min_count`` times (default 1). Raises RaykdError, also when ``out`` exists.
    """
    from raykd.api.notebook_terminal import call_terminal
    from raykd.model_shrink import shrink as shrink_model_folder

    folder = expand_home(os.fspath(out), "out")
    sizes = shrink_model_folder(
        expand_home(os.fspath(model), "model"),
        layers=None if layers is None else list(layers),
        text=[expand_home(file, "text") for file in text],
        min_count=min_count,
        out=folder,
    )
    terminal = call_terminal()
    for line in sizes:
        terminal.print_line(line)
    return folder
