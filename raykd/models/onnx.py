"""Classifiers as ONNX files: written by ``torch.onnx``, opened with onnxruntime. Both come with the extra ``raykd[export]``."""

import logging
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raykd.data import storage
from raykd.errors import ModelError
from raykd.models.classifiers import label_names, load_classifier, load_config
from raykd.models.folders import first_line, quiet_transformers
from raykd.models.inputs import takes_token_types
from raykd.models.tokenizers import load_tokenizer

OPSET = 18
"""Version of the operators: supported by onnxruntime since 1.14."""
LOGITS = "logits"
Forward = Callable[[Mapping[str, npt.NDArray[Any]]], npt.NDArray[np.float32]]
"""From ``input_ids``, ``attention_mask`` and ``token_type_ids`` ``[B, L]`` to logits ``[B, C]``."""


def export_onnx(model: str, file: str) -> None:
    """Write the classifier of a folder as one ONNX file with a dynamic number of rows and tokens.

    Inputs are ``input_ids`` and ``attention_mask``, with ``token_type_ids`` where the model takes and its tokenizer makes them;
    all int64 ``[B, L]``. Output is ``logits`` float32 ``[B, C]``. The file appears whole or not at all. Raises ModelError when
    the folder holds no trained classifier or no tokenizer, or the model cannot be exported, ResourceError when the file cannot
    be written.
    """
    import torch

    classifier = load_classifier(model, labels=label_names(load_config(model)), new_head=False).eval()
    names = input_names(classifier, load_tokenizer(model))
    rows, tokens = 2, 8
    example = {name: torch.ones((rows, tokens), dtype=torch.int64) for name in names}
    if "token_type_ids" in example:
        example["token_type_ids"] = torch.zeros((rows, tokens), dtype=torch.int64)
    dynamic = dict.fromkeys(range(2), torch.export.Dim.DYNAMIC)
    with _output_file(file) as target, _quiet_exporter():
        try:
            torch.onnx.export(
                _logits_of(classifier, names),
                tuple(example.values()),
                target,
                input_names=list(names),
                output_names=[LOGITS],
                dynamic_shapes=(tuple(dynamic for _ in names),),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
            kind = classifier.config.model_type
            raise ModelError(
                f"{model} ({kind}) cannot be written as ONNX: {_export_reason(error)}; keep the folder as it is"
            ) from error


def _export_reason(error: BaseException) -> str:
    """The first line of the error that torch's exporter met; its own is a heading with colours and "Next steps:"."""
    while error.__cause__ is not None:
        error = error.__cause__
    plain = re.sub(r"\x1b\[[0-9;]*m", "", first_line(error))
    return plain.removesuffix("Next steps:").strip().rstrip(".")


def quantize(file: str, out: str, *, calibration: Iterable[Mapping[str, npt.NDArray[Any]]] | None = None) -> None:
    """Write an ONNX file with the weights of its matrix products as 8-bit integers, one scale a column.

    Activations are quantised as they come, or with fixed ranges taken from batches of model inputs (``calibration``).
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static

    with _output_file(out) as target, _quiet_exporter():
        if calibration is None:
            quantize_dynamic(file, target, weight_type=QuantType.QInt8, per_channel=True)
            return
        names = {one.name for one in open_session(file).get_inputs()}
        batches = [{name: np.asarray(values, np.int64) for name, values in one.items() if name in names} for one in calibration]
        quantize_static(
            file, target, _CalibrationReader(batches), per_channel=True, weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8, op_types_to_quantize=["MatMul", "Gemm"],
        )  # fmt: skip


class _CalibrationReader:
    """Batches as onnxruntime's calibration reads them; a stock CalibrationDataReader by its two methods."""

    def __init__(self, batches: Sequence[Mapping[str, npt.NDArray[Any]]]) -> None:
        self._batches = list(batches)
        self._next = iter(self._batches)

    def get_next(self) -> Mapping[str, npt.NDArray[Any]] | None:
        """The next batch; None at the end."""
        return next(self._next, None)

    def rewind(self) -> None:
        """Start again with the first batch."""
        self._next = iter(self._batches)


def open_session(file: str, *, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU. Raises ModelError when the file cannot be opened."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except _runtime_errors() as error:
        raise ModelError(f"onnxruntime cannot open {file}: {first_line(error)}; export it again") from error


def run_session(session: Any, batch: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """Logits ``[B, C]`` of a tokenised batch; arrays that the model does not take are left out. Raises ModelError."""
    inputs = select_inputs([one.name for one in session.get_inputs()], batch)
    try:
        logits: npt.NDArray[np.float32] = session.run([LOGITS], inputs)[0]
    except _runtime_errors() as error:
        shape = list(inputs["input_ids"].shape)
        raise ModelError(f"the ONNX file cannot run on a batch of shape {shape}: {first_line(error)}") from error
    return logits


def select_inputs(names: Sequence[str], batch: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.int64]]:
    """The arrays that an exported model takes, int64 ``[B, L]``. Raises ModelError when the batch lacks one."""
    if absent := [name for name in names if name not in batch]:
        raise ModelError(
            f"the exported file takes {', '.join(absent)}, which the model's tokenizer does not make; export it again"
        )
    return {name: np.asarray(batch[name], np.int64) for name in names}


def _runtime_errors() -> tuple[type[Exception], ...]:
    """Errors of onnxruntime, which have no base class but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented)
    return (*own, state.RuntimeException, RuntimeError, ValueError)


def input_names(classifier: Any, tokenizer: Any) -> tuple[str, ...]:
    """Names of the exported model's inputs; a model whose tokenizer makes no token types has them as zeros inside."""
    types = "token_type_ids"
    return (
        "input_ids",
        "attention_mask",
        *([types] if takes_token_types(classifier) and types in tokenizer.model_input_names else []),
    )


def _logits_of(classifier: Any, names: tuple[str, ...]) -> Any:
    from torch import Tensor, nn

    class LogitsModule(nn.Module):
        """The classifier with positional inputs and nothing but logits out."""

        def __init__(self) -> None:
            super().__init__()
            self.classifier = classifier

        def forward(self, *inputs: Tensor) -> Tensor:
            logits: Tensor = self.classifier(**dict(zip(names, inputs, strict=True))).logits
            return logits

    return LogitsModule().eval()


@contextmanager
def _output_file(file: str) -> Iterator[str]:
    """A local path that becomes ``file`` when the block ends well. Raises ResourceError when it cannot be written."""
    with tempfile.TemporaryDirectory(prefix="raykd-onnx-") as folder:
        target = os.path.join(folder, Path(file).name)
        yield target
        with open(target, "rb") as source, storage.open_output(file) as stream:
            while block := source.read(1 << 20):
                stream.write(block)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Suppress progress and warnings of the exporter; its output is checked against the model's own logits."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "root")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings(), quiet_transformers():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
