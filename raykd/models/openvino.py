"""Classifiers in OpenVINO's format: converted from ONNX files, run on the CPU. The package comes with ``raykd[openvino]``."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from raykd.errors import ModelError
from raykd.extras import import_extra
from raykd.models.onnx import LOGITS, Forward, select_inputs


def convert_onnx(file: str, out: str) -> None:
    """Write an ONNX file as OpenVINO's ``.xml``, with its weights in a ``.bin`` beside it; local paths.

    Weights stay float32. Raises ModelError when OpenVINO cannot read the file.
    """
    openvino = import_extra("openvino")
    try:
        openvino.save_model(openvino.Core().read_model(file), out, compress_to_fp16=False)
    except RuntimeError as error:
        raise ModelError(f"{file} cannot be converted to OpenVINO: {_reason(error)}; use --format onnx") from error


def weights_beside(file: str) -> str:
    """The file of weights that belongs to a ``.xml``."""
    return f"{file.removesuffix('.xml')}.bin"


def open_openvino(file: str, *, threads: int = 1) -> Forward:
    """A model in OpenVINO's format on the CPU, in float32. Raises ModelError when the files cannot be opened.

    The function that is returned raises ModelError for a batch that the model cannot take.
    """
    openvino = import_extra("openvino")
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}  # some CPUs would compute in bf16
    try:
        compiled = openvino.Core().compile_model(file, "CPU", settings)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot open {file}: {_reason(error)}; export it again") from error
    names = [one.get_any_name() for one in compiled.inputs]

    def forward(batch: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        inputs = select_inputs(names, batch)
        try:
            logits: npt.NDArray[np.float32] = compiled(inputs)[LOGITS]
        except RuntimeError as error:
            shape = list(inputs["input_ids"].shape)
            raise ModelError(f"{file} cannot run on a batch of shape {shape}: {_reason(error)}") from error
        return logits

    return forward


def _reason(error: RuntimeError) -> str:
    """The last line of OpenVINO's error; those before it name lines of its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".!") if lines else type(error).__name__
