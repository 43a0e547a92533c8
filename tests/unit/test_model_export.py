"""``raykd export``: ONNX files with the model's own logits, told in the run's report."""

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import raykd
from raykd import model_export as export_module
from raykd.cli import main
from raykd.errors import ConfigError, ModelError
from raykd.model_export import export
from raykd.models import ModelShape, build_classifier, load_classifier, load_tokenizer, save_classifier
from raykd.models.onnx import export_onnx, open_session, quantize, run_session
from raykd.progress import Terminal
from raykd.report import int8_gate
from raykd.report.exports import read_exports
from raykd.report.int8_gate import Int8Gate, difference_text, onnx_logits
from raykd.report.load_tables import load_logits
from raykd.task_kinds import task_kind
from tests.unit.models.architectures import wordpiece

pytestmark = pytest.mark.usefixtures("quick_export")
NEEDS_OPENVINO = pytest.mark.skipif(find_spec("openvino") is None, reason="pip install 'raykd[openvino]'")
SHORT = {"epochs": 1, "batch_size": 32, "learning_rate": 5e-3}


@pytest.fixture
def run(experiment, local):
    changes = {"compute__engine": {"kind": "torch"}, "student__training": SHORT, "teacher__training": SHORT}
    pipeline = local(experiment(**changes, student__seeds=[1]))
    pipeline.run()
    return pipeline


@pytest.fixture
def exporter_of_the_student(student_onnx, monkeypatch):
    """Every model is written as the student's ONNX file."""
    monkeypatch.setattr(export_module, "export_onnx", lambda _, file: shutil.copyfile(student_onnx, file))


def test_exports_have_the_models_logits_and_a_row_in_the_report(run, small_world, monkeypatch):
    import onnxruntime

    folder = Path(run.runner.folder)
    model = folder / "students/kd-seed1/model"
    before = json.loads((folder / "report/report.json").read_text())
    card = (model / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "| student, KD |" in card
    assert before["conclusion"][0] in card
    assert not (folder / "teacher/model/README.md").exists()

    said, terminal = [], Terminal()
    monkeypatch.setattr(terminal, "print_line", said.append)
    plain, small = export(str(model), int8=True, terminal=terminal, tolerance=100)
    assert plain.largest_difference < 1e-4
    assert plain.agreement == 1.0
    assert small.bytes_on_disk < plain.bytes_on_disk
    assert small.against_float.rows == run.tokenised("validation", run.config.student.model).num_rows
    assert plain.against_float is None
    measured = difference_text(small.against_float, task_kind("single_label").headline)
    line = f"kd-seed1, ONNX int8: accuracy against the float file on {small.against_float.rows} validation rows: {measured}"
    assert line in said
    tokenizer, own = load_tokenizer(str(model)), load_classifier(str(model), labels=("0", "1")).eval()
    for texts in (["good"], ["the plot was awful", "fine film and a lovely scene", "is"]):
        batch = tokenizer(texts, padding=True, return_tensors="np")
        session = onnxruntime.InferenceSession(str(model / "onnx/model.onnx"), providers=["CPUExecutionProvider"])
        wanted = {one.name for one in session.get_inputs()}
        logits = session.run(["logits"], {name: np.asarray(value, np.int64) for name, value in batch.items() if name in wanted})
        with torch.no_grad():
            expected = own(**{name: torch.tensor(value) for name, value in batch.items()}).logits
        np.testing.assert_allclose(logits[0], expected.numpy(), atol=1e-5)

    report = json.loads((folder / "report/report.json").read_text())
    assert [one["name"] for one in report["exports"]] == ["kd-seed1, ONNX", "kd-seed1, ONNX int8"]
    assert report["systems"] == before["systems"]
    for page in ("report.md", "report.html"):
        text = (folder / "report" / page).read_text()
        assert text.count("kd-seed1, ONNX int8") == 2, "its speed, and how it compares"
    shutil.rmtree(folder / "report")
    again = run.report()
    assert [one.name for one in again.exports] == ["kd-seed1, ONNX", "kd-seed1, ONNX int8"]


def test_int8_that_is_worse_on_validation_rows_is_refused(run, monkeypatch, capsys):
    """Both 8-bit forms answer the other class; the float file is published all the same."""
    import onnx
    from onnx import numpy_helper

    forms = []

    def opposite(file, out, *, calibration=None):
        forms.append("dynamic" if calibration is None else f"static, {len(next(iter(calibration))['input_ids'])} rows a batch")
        model = onnx.load(file)
        name = model.graph.output[0].name
        model.graph.output[0].name = "kept"
        for node in model.graph.node:
            node.output[:] = ["kept" if one == name else one for one in node.output]
        model.graph.initializer.append(numpy_helper.from_array(np.array(-1, np.float32), "minus"))
        model.graph.node.append(onnx.helper.make_node("Mul", ["kept", "minus"], [name]))
        model.graph.output[0].name = name
        onnx.save(model, out)

    monkeypatch.setattr(int8_gate, "quantize", opposite)
    model = Path(run.runner.folder) / "students/kd-seed1/model"
    (model / "onnx").mkdir()
    (model / "onnx/model_int8.onnx").write_bytes(b"of an earlier export")
    monkeypatch.setattr(sys, "argv", ["raykd", "export", str(model), "--int8"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "the int8 file is not published: on " in said
    assert "more than 0.5 points below the float file's (per-channel weights: −" in said
    assert forms == ["dynamic", "static, 32 rows a batch"]
    assert sorted(path.name for path in (model / "onnx").iterdir()) == ["export.json", "model.onnx"]
    with pytest.raises(raykd.Int8RefusedError, match="not published") as refused:
        raykd.export(model, int8=True)
    assert isinstance(refused.value, raykd.RaykdError)


def test_static_activations_keep_the_answers(run, tmp_path):
    import onnx

    model = str(Path(run.runner.folder) / "students/kd-seed1/model")
    rows = run.tokenised("validation", model)
    gate = Int8Gate(rows, run.tokenised("train", model), task_kind("single_label"), tolerance=0.5)
    export_onnx(model, str(tmp_path / "model.onnx"))
    quantize(str(tmp_path / "model.onnx"), str(tmp_path / "static.onnx"), calibration=gate._calibration())
    own, static = (onnx_logits(str(tmp_path / name), rows) for name in ("model.onnx", "static.onnx"))
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(tmp_path / "static.onnx").graph.node}
    assert np.mean(own.argmax(1) == static.argmax(1)) > 0.9
    assert not np.array_equal(own, static)
    side = load_logits(str(Path(run.runner.folder) / "evaluation/validation/student-kd-seed-1"))
    np.testing.assert_allclose(own, side, atol=1e-4, err_msg="rows come back in their order")


@pytest.mark.parametrize("has_types", [True, False])
def test_inputs_are_those_that_the_tokenizer_makes(tmp_path, has_types):
    """Token types are zeros inside a model whose tokenizer makes none: BERT's default."""
    tokenizer = wordpiece()
    shape = ModelShape(vocab_size=len(tokenizer), hidden=16, layers=1, heads=2, positions=64, initializer_range=0.5)
    model = build_classifier(shape, labels=("0", "1"), seed=1)
    save_classifier(model, tokenizer, str(tmp_path / "model"))
    inputs = ["input_ids", "token_type_ids", "attention_mask"] if has_types else ["input_ids", "attention_mask"]
    settings = json.loads((tmp_path / "model/tokenizer_config.json").read_text())
    (tmp_path / "model/tokenizer_config.json").write_text(json.dumps(settings | {"model_input_names": inputs}))
    (made, small) = export(str(tmp_path / "model"), int8=True, terminal=Terminal())
    session = open_session(made.file)
    assert {one.name for one in session.get_inputs()} == set(inputs)
    assert made.largest_difference < 1e-4
    assert np.isfinite(small.largest_difference)


def test_an_input_that_the_tokenizer_does_not_make_is_named(student_onnx):
    session = open_session(student_onnx)
    with pytest.raises(ModelError, match="takes attention_mask, which the model's tokenizer does not make"):
        run_session(session, {"input_ids": np.ones((1, 4), np.int64), "token_type_ids": np.zeros((1, 4), np.int64)})


def test_a_file_that_is_not_the_model_is_not_written(tmp_path, small_world, exporter_of_the_student):
    shutil.copytree(small_world["teacher"], tmp_path / "model")
    with pytest.raises(ModelError, match=r"the logits of the ONNX file differ from the model's by up to"):
        export(str(tmp_path / "model"), int8=False, terminal=Terminal())
    assert not list((tmp_path / "model").glob("onnx/*"))


def test_a_model_of_another_kind_of_job_is_compared_on_invented_rows(tmp_path, small_world, exporter_of_the_student):
    shutil.copytree(small_world["student"], tmp_path / "run/students/one/model")
    (tmp_path / "run/experiment.json").write_text(json.dumps({"kind": "meta_kd"}))
    (made,) = export(str(tmp_path / "run/students/one/model"), int8=False, terminal=Terminal())
    assert made.rows > 10
    assert made.name == "one, ONNX"


@NEEDS_OPENVINO
def test_openvino_files_have_the_models_logits_and_stand_beside_the_onnx_file(tmp_path, small_world, exporter_of_the_student):
    model = str(shutil.copytree(small_world["student"], tmp_path / "run/students/one/model"))
    (onnx,) = export(model, terminal=Terminal())
    (made,) = export(model, form="openvino", terminal=Terminal())
    assert made.name == "one, OpenVINO"
    assert made.largest_difference < 1e-4
    assert made.agreement == 1.0
    names = ["export.json", "openvino_model.bin", "openvino_model.xml"]
    assert sorted(path.name for path in (tmp_path / "run/students/one/model/openvino").iterdir()) == names
    assert made.bytes_on_disk == sum((Path(made.file).parent / name).stat().st_size for name in names[1:])
    assert read_exports(model) == (onnx, made)


@NEEDS_OPENVINO
def test_openvino_files_that_are_not_the_model_are_not_written(tmp_path, small_world, exporter_of_the_student):
    model = str(shutil.copytree(small_world["teacher"], tmp_path / "model"))
    with pytest.raises(ModelError, match=r"the logits of the OpenVINO file differ from the model's by up to"):
        export(model, form="openvino", terminal=Terminal())
    assert not list((tmp_path / "model").glob("o*/*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "tflite"], "--format tflite: there is no such format; use onnx or openvino"),
        (["--format", "openvino", "--int8"], "--int8 is a form of the ONNX file; leave it out, or use --format onnx"),
    ],
)
def test_formats_that_there_are_not(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["raykd", "export", str(tmp_path), *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "experiment.json"])
def test_a_folder_that_is_no_models(tmp_path, content):
    if content:
        (tmp_path / content).write_text("{}")
    message = "is a run; give one of its models" if content else "is not a model folder"
    with pytest.raises(ConfigError, match=message):
        export(str(tmp_path), int8=False, terminal=Terminal())


def test_without_the_libraries_the_extra_is_named(tmp_path):
    code = "import sys; sys.modules['onnxruntime'] = None; from raykd.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code, "export", str(tmp_path)], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "pip install 'raykd[export]'" in result.stderr


def test_what_cannot_be_exported_is_an_error_with_the_reason(tmp_path, small_world, monkeypatch):
    def refuse(*args, **kwargs):
        try:
            raise RuntimeError("a loop over rows\nand a stack")
        except RuntimeError as error:
            heading = "\x1b[96mFailed to export the model with torch.export.\x1b[0m Next steps:\n- Modify the model"
            raise torch.onnx.errors.OnnxExporterError(heading) from error

    tokenizer = load_tokenizer(small_world["student"])
    shape = ModelShape(vocab_size=len(tokenizer), hidden=16, layers=1, heads=2, positions=32, initializer_range=0.5)
    model = build_classifier(shape, labels=("0", "1"), seed=1)
    save_classifier(model, tokenizer, str(tmp_path / "model"))
    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(ModelError, match=r"cannot be written as ONNX: a loop over rows; keep the folder as it is$"):
        export_onnx(str(tmp_path / "model"), str(tmp_path / "model.onnx"))


def _without_exporting(monkeypatch, error):
    """Have the exporter write any bytes, and their check raise."""

    def stop(*_, **__):
        raise error

    monkeypatch.setattr(export_module, "export_onnx", lambda model, file: Path(file).write_bytes(b"unchecked"))
    monkeypatch.setattr(export_module, "_measure", stop)


@pytest.mark.parametrize("address", ["file://", "s3://"])
def test_a_folder_at_an_address_is_exported_in_its_place(tmp_path, small_world, monkeypatch, address, exporter_of_the_student):
    from raykd.data import file_systems, storage
    from tests.cluster.s3_server import BUCKET, s3_server

    with ExitStack() as stack:
        base = f"file://{tmp_path}/bucket"
        if address == "s3://":
            server = stack.enter_context(s3_server(tmp_path))
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            file_systems._remote_fs.cache_clear()
            stack.callback(file_systems._remote_fs.cache_clear)
            base = f"s3://{BUCKET}"
        model = f"{base}/run/students/one/model"
        storage.upload_dir(small_world["student"], model)
        (made,) = export(model, int8=False, terminal=Terminal())
        assert made.name == "one, ONNX"
        assert made.file == f"{model}/onnx/model.onnx".removeprefix("file://")
        assert storage.file_size(made.file) == made.bytes_on_disk
        assert sorted(storage.file_sizes(f"{model}/onnx")) == ["export.json", "model.onnx"]

        storage.write_bytes(f"{model}/onnx/model_int8.onnx", b"of an earlier export")
        (made,) = export(model, int8=False, terminal=Terminal())
        assert sorted(storage.file_sizes(f"{model}/onnx")) == ["export.json", "model.onnx"], "no file that no index lists"

        _without_exporting(monkeypatch, ModelError("other logits"))
        with pytest.raises(ModelError, match="other logits"):
            export(model, int8=False, terminal=Terminal())
        assert read_exports(model) == (made,), "the earlier export stays"
        assert storage.file_size(made.file) == made.bytes_on_disk


@pytest.mark.parametrize("error", [KeyboardInterrupt, TypeError, OSError])
def test_whatever_stops_an_export_no_unchecked_file_stays(tmp_path, small_world, monkeypatch, error):
    shutil.copytree(small_world["student"], tmp_path / "model")
    _without_exporting(monkeypatch, error())
    with pytest.raises(error):
        export(str(tmp_path / "model"), int8=False, terminal=Terminal())
    assert not list((tmp_path / "model").glob("onnx/*"))


@pytest.mark.parametrize(
    ("stopped_at", "int8"),
    [("model.onnx", True), ("model_int8.onnx", True), ("export.json", True), ("model.onnx", False), ("export.json", False)],
)
def test_an_earlier_export_stays_unless_its_files_were_replaced(
    tmp_path, small_world, monkeypatch, exporter_of_the_student, *, stopped_at, int8
):
    from raykd.data import storage

    model = str(shutil.copytree(small_world["student"], tmp_path / "model"))
    made = export(model, int8=True, terminal=Terminal())
    open_output = storage.open_output

    def full(path):
        if path.endswith(f"/onnx/{stopped_at}"):
            raise OSError("no space left on device")
        return open_output(path)

    monkeypatch.setattr(storage, "open_output", full)
    with pytest.raises(OSError, match="no space"):
        export(model, int8=int8, terminal=Terminal())
    if stopped_at == "model.onnx":
        assert read_exports(model) == tuple(made)
        assert all(Path(one.file).stat().st_size == one.bytes_on_disk for one in made)
    else:
        assert not list((tmp_path / "model").glob("onnx/*"))


def test_the_form_of_an_export_does_not_depend_on_the_folders_name(tmp_path, small_world, monkeypatch, exporter_of_the_student):
    said, terminal = [], Terminal()
    monkeypatch.setattr(terminal, "print_line", said.append)
    model = str(shutil.copytree(small_world["student"], tmp_path / "bert-int8"))
    (made,) = export(model, terminal=terminal)
    assert (made.name, made.int8) == ("bert-int8, ONNX", False)
    assert not any("warning" in line for line in said)
    assert [one.int8 for one in export(model, int8=True, terminal=terminal)] == [False, True]
    assert read_exports(model)[1].int8
    assert any(line.startswith("warning: bert-int8, ONNX int8: not compared") for line in said)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a/b/c", ["/a/b", "/a"]), ("s3://bucket/run/model", ["s3://bucket/run", "s3://bucket"])],
)
def test_folders_above_a_path_stay_in_its_bucket(path, expected):
    assert export_module._parents(path) == expected
