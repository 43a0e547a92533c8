"""``raykd export``: a model as ONNX or OpenVINO files, checked against its own logits, timed, entered into its run's report."""

import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from raykd.config import DataConfig, ExperimentConfig, build
from raykd.data import storage
from raykd.data.sample_rows import sample_rows
from raykd.distill.pipeline import DistillationPipeline
from raykd.errors import ConfigError, Int8RefusedError, ModelError
from raykd.extras import require_extra
from raykd.models import load_config, load_tokenizer, local_folder, max_sequence_length
from raykd.models.exported_file import file_parts, open_exported
from raykd.models.onnx import export_onnx, quantize
from raykd.models.openvino import convert_onnx
from raykd.progress import Terminal
from raykd.report.bootstrap import Verdict
from raykd.report.exports import Export, ExportFormat, export_path, index_path, read_exports, write_exports
from raykd.report.files import REPORT, read_report, write_report
from raykd.report.int8_gate import Int8Gate, difference_text
from raykd.report.latency import LATENCY_SECONDS, SAMPLE_ROWS, Latency, Predictor, Row, encode, load_predictor, measure_latency
from raykd.task_kinds import task_kind, task_kind_of_model

TOLERANCE = 1e-3
"""Difference of a logit, as a fraction of the largest one (at least 1), above which a float32 file is not the model: sums in
another order differ by a thousandth of that, a lost mask or a wrong position by a hundred times as much."""
TITLES: Mapping[str, str] = {"onnx": "ONNX", "openvino": "OpenVINO"}
"""Formats, and their names in reports."""
INT8 = "ONNX int8"
"""Name in reports of the ONNX file with 8-bit weights."""
LENGTH = 128
"""Tokens a row may have where no job file sets a length."""


def export(model: str, *, form: str = "onnx", int8: bool = False, terminal: Terminal, tolerance: float = 0.5) -> list[Export]:
    """Write a model into its folder ``onnx`` or ``openvino``: ``model.onnx``, with ``int8`` also ``model_int8.onnx``; or
    ``openvino_model.xml`` and ``.bin``.

    The int8 file of a run's model is compared with the float file on the run's validation rows; see :class:`Int8Gate`.
    Raises ConfigError when the libraries are absent or the folder is no model's, ModelError when the logits are not the
    model's own; nothing is written then, and an earlier export stays. Raises Int8RefusedError, after the float file is there,
    when the int8 file is refused.
    """
    checked = _check_format(form, int8)
    model = model.removeprefix("file://")
    _check_folder(model)
    run = _run_of(model)
    config = run[1] if run else None
    targets = {TITLES[checked]: export_path(model, checked)}
    if int8:
        targets[INT8] = export_path(model, checked, int8=True)
    with tempfile.TemporaryDirectory(prefix="raykd-export-") as aside:
        made, refusal = _make(model, targets, config, tolerance, aside=aside)
        stale = _int8_without_index(made, model, checked)
        published = _publish(made, model, checked, stale)
        if stale:
            terminal.print_line(f"{INT8}: {stale} of an earlier export is removed")
    for one in published:
        _tell(one, config, terminal)
    if run is not None:
        _enter(run[0], terminal)
    if refusal is not None:
        raise refusal
    return published


def _int8_without_index(made: Sequence[Export], model: str, form: ExportFormat) -> str | None:
    """The int8 file of an earlier export, which no index will list once ``made`` is published; None where there is none."""
    if form != "onnx" or any(one.int8 for one in made):
        return None
    earlier = export_path(model, form, int8=True)
    return earlier if storage.exists(earlier) else None


def _tell(one: Export, config: ExperimentConfig | None, terminal: Terminal) -> None:
    """Print an export's size and how it compares with the model."""
    terminal.print_line(
        f"{one.name}: {one.file}, {one.bytes_on_disk / 1e6:.1f} MB; on {one.rows} rows logits differ by at most "
        f"{one.largest_difference:.2g}, predictions agree on {one.agreement:.1%}"
    )
    if one.against_float is not None and config is not None:
        metric = task_kind(config.data.task).headline
        terminal.print_line(
            f"{one.name}: {metric.title} against the float file on {one.against_float.rows:,} validation rows: "
            f"{difference_text(one.against_float, metric)}"
        )
    elif one.int8:
        terminal.print_line(
            f"warning: {one.name}: not compared on labelled rows, since there is no run with such rows above it"
        )


def _check_format(form: str, int8: bool) -> ExportFormat:
    """The format, when its packages are installed. Raises ConfigError."""
    if form not in TITLES:
        raise ConfigError(f"--format {form}: there is no such format; use {' or '.join(TITLES)}")
    if int8 and form != "onnx":
        raise ConfigError(f"--int8 is a form of the ONNX file; leave it out, or use --format onnx instead of {form}")
    require_extra("export", "exporting")
    if form != "onnx":
        require_extra(form, f"--format {form}")
    return cast(ExportFormat, form)


def _make(
    model: str, targets: Mapping[str, str], config: ExperimentConfig | None, tolerance: float, *, aside: str
) -> tuple[list[Export], Int8RefusedError | None]:
    """Write and check files of the names of ``targets`` in the local folder ``aside``; a refused int8 file is left out."""
    verdict, refusal = None, None
    files = {title: storage.join(aside, Path(target).name) for title, target in targets.items()}
    with local_folder(model) as folder:
        onnx = storage.join(aside, "model.onnx")  # the others are made from it
        export_onnx(str(folder), onnx)
        if "OpenVINO" in files:
            convert_onnx(onnx, files["OpenVINO"])
        if INT8 in files:
            try:
                verdict = _quantise(str(folder), onnx, files[INT8], config, tolerance)
            except Int8RefusedError as error:
                refusal = error
                del files[INT8]
        length, rows = _rows(str(folder), config.data if config else None)
        made = _measure(str(folder), files, rows, length=length)
    label = Path(model).parent.name if Path(model).name == "model" else Path(model).name
    named = [one.model_copy(update={"name": f"{label}, {one.name}"}) for one in made]
    return [one.model_copy(update={"against_float": verdict}) if one.int8 else one for one in named], refusal


def _publish(made: Sequence[Export], model: str, form: ExportFormat, stale: str | None) -> list[Export]:
    """Copy checked files into the model's folder, over those of an earlier export, remove ``stale``, and write its index.

    The earlier export stays where no file could be written. Where some were, all are removed: they and the index do not belong
    together.
    """
    published = [one.model_copy(update={"file": export_path(model, form, int8=one.int8)}) for one in made]
    parts = [pair for one, new in zip(made, published, strict=True) for pair in _part_pairs(one.file, new.file)]
    written = False
    try:
        for part, target in parts:
            with open(part, "rb") as source, storage.open_output(target) as stream:
                shutil.copyfileobj(source, stream)
            written = True
        if stale:
            storage.remove(stale)
        write_exports(model, form, published)
    except BaseException:  # an interrupted command too
        if written:
            for file in (*(target for _, target in parts), *([stale] if stale else []), index_path(model, form)):
                storage.remove(file)
        raise
    return published


def _part_pairs(file: str, target: str) -> Iterator[tuple[str, str]]:
    """The parts of an exported file, each with the path that it is copied to."""
    return zip(file_parts(file), file_parts(target), strict=True)


def _quantise(model: str, file: str, out: str, config: ExperimentConfig | None, tolerance: float) -> Verdict | None:
    """Write the int8 file; without a run's labelled rows it is not judged. Raises Int8RefusedError."""
    if config is None or config.data.label is None:
        quantize(file, out)
        return None
    pipeline = DistillationPipeline(config)
    gate = Int8Gate(
        rows=pipeline.tokenised("validation", model),
        calibration=pipeline.tokenised("train", model),
        kind=task_kind_of_model(load_config(model)),
        tolerance=tolerance,
        positive_label=config.data.positive_label,
    )
    return gate.write(file, out)


def exports_of(models: Sequence[str]) -> list[Export]:
    """The exports of several model folders."""
    return [one for model in models for one in read_exports(model)]


def _check_folder(model: str) -> None:
    if storage.exists(storage.join(model, "config.json")):
        return
    if storage.exists(storage.join(model, "experiment.json")):
        raise ConfigError(
            f"{model} is a run; give one of its models, for example {storage.join(model, 'students/kd-seed1/model')}"
        )
    raise ConfigError(f"{model} is not a model folder: it has no config.json; give the folder of a trained classifier")


def _run_of(model: str) -> tuple[str, ExperimentConfig] | None:
    """The distillation that made the model: the nearest folder above it with an ``experiment.json``; none for other jobs."""
    for parent in _parents(storage.absolute(model))[:4]:
        path = storage.join(parent, "experiment.json")
        if storage.exists(path):
            content = storage.read_json(path)
            return None if "kind" in content else (parent, build(content, source=path))
    return None


def _parents(path: str) -> list[str]:
    """The folders above a path, nearest first, inside its bucket where it is an address."""
    scheme, separator, rest = path.rpartition("://")
    return [f"{scheme}{separator}{parent}" for parent in map(str, PurePosixPath(rest).parents) if parent not in (".", "/")]


def _rows(model: str, data: DataConfig | None) -> tuple[int, list[Row]]:
    """Longest row in tokens, and rows to compare and to time on: of the run's data where there is a run."""
    if data is not None:
        return data.sequence_length, sample_rows(data, SAMPLE_ROWS)
    limit = max_sequence_length(load_config(model))
    length = min(LENGTH, limit or LENGTH)
    return length, _invented(load_tokenizer(model), length)


def _invented(tokenizer: Any, length: int) -> list[Row]:
    """Rows of words of the vocabulary, short and long."""
    special = set(tokenizer.all_special_tokens)
    words = sorted(token for token in tokenizer.get_vocab() if token.isalpha() and token not in special)
    draw = random.Random(0)
    return [(" ".join(draw.choices(words, k=draw.randint(1, length))),) for _ in range(SAMPLE_ROWS // 4)]


def _measure(model: str, files: dict[str, str], rows: Sequence[Row], *, length: int) -> list[Export]:
    tokenizer, kind = load_tokenizer(model), task_kind_of_model(load_config(model))
    own = load_predictor(model, sequence_length=length)
    predictors: dict[str, Predictor] = {"": own} | {
        name: _file_predictor(file, tokenizer, length) for name, file in files.items()
    }
    logits = {name: _all_logits(predict, rows) for name, predict in predictors.items()}
    for name in files:
        _check(name, logits[""], logits[name])
    latencies: dict[str, Latency] = measure_latency(predictors, rows, seconds=LATENCY_SECONDS)
    return [
        Export(
            name=name,
            file=file,
            int8=name == INT8,
            bytes_on_disk=sum(storage.file_size(part) for part in file_parts(file)),
            rows=len(rows),
            largest_difference=float(np.abs(logits[name] - logits[""]).max()),
            agreement=kind.agreement(logits[name], logits[""]),
            latency=latencies[name],
        )
        for name, file in files.items()
    ]


def _file_predictor(file: str, tokenizer: Any, length: int) -> Predictor:
    forward = open_exported(file)
    return lambda rows: forward(encode(tokenizer, rows, sequence_length=length, tensors="np"))


def _all_logits(predict: Predictor, rows: Sequence[Row]) -> npt.NDArray[np.float32]:
    """One row at a time and in batches of other sizes: the number of rows and tokens is free."""
    singles, rest = rows[:8], rows[8:]
    batches = [[row] for row in singles] + [list(rest[start : start + 32]) for start in range(0, len(rest), 32)]
    return np.concatenate([np.asarray(predict(batch)) for batch in batches])


def _check(name: str, own: npt.NDArray[np.float32], exported: npt.NDArray[np.float32]) -> None:
    difference = np.abs(own - exported).max()
    allowed = TOLERANCE * max(1.0, float(np.abs(own).max()))
    if not np.isfinite(exported).all() or (name != INT8 and difference > allowed):
        raise ModelError(
            f"the logits of the {name} file differ from the model's by up to {difference:.3g}, allowed is {allowed:.3g}; no "
            "file was written; keep the folder as it is"
        )


def _enter(run: str, terminal: Terminal) -> None:
    """Put the exports of all of a run's models into its report, if it has one."""
    folder = storage.join(run, "report")
    if not storage.exists(storage.join(folder, REPORT)):
        return
    models = [path.removesuffix("/config.json") for path in storage.expand([storage.join(run, "**/model/config.json")])]
    comparison = read_report(folder).model_copy(update={"exports": tuple(exports_of(models))})
    write_report(comparison, folder)
    terminal.print_line(f"report: {storage.join(folder, 'report.html')}")
