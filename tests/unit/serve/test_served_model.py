"""Answers of a served model against transformers' own pipeline."""

import shutil
from importlib.util import find_spec

import numpy as np
import pytest

from raykd.errors import ConfigError
from raykd.model_export import export
from raykd.models.model_settings import ModelSettings, write_settings
from raykd.progress import Terminal
from raykd.serve.served_model import ServedModel, exported_file

TEXTS = ["good", "the plot was awful and the film a bore", "fine film", "", "is " * 200, "a lovely scene of the film"]


def pipeline_scores(folder, texts, *, length=32):
    from transformers import pipeline

    classify = pipeline("text-classification", model=folder, top_k=None)
    return [
        {entry["label"]: entry["score"] for entry in classify([text], truncation=True, max_length=length)[0]} for text in texts
    ]


def test_rows_of_all_lengths_have_the_scores_of_the_pipeline(served_folder_path, served, copied):
    write_settings(str(copied), ModelSettings(32, 1.0, None))
    rows = served.encode(TEXTS)
    expected = np.array([[one["bad"], one["good"]] for one in pipeline_scores(served_folder_path, TEXTS)])
    raw = ServedModel.load(str(copied))
    for budget in (1, 40, 100, 4096):
        logits, sizes = raw.score(rows, budget=budget)
        assert sizes.sum() >= len(rows)
        assert (sizes == 1).all() == (budget == 1)
        np.testing.assert_allclose(raw.description.probabilities(logits), expected, atol=1e-4)
    assert expected.std(axis=0).max() > 0.01, "the rows differ"


def test_the_temperature_of_the_folder_is_applied_and_answers_stay(served):
    logits = served.logits(served.encode(TEXTS))
    exponentials = np.exp(logits / 2.0)
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(served.description.probabilities(logits), expected, rtol=1e-5)


def test_long_texts_are_cut_as_in_training_and_marked(served, copied):
    assert [row.truncated for row in served.encode(TEXTS)] == [False, False, False, False, True, False]
    assert len(served.encode(TEXTS)[4].ids) == 32
    exact = served.encode(["is " * 30])[0]
    assert (len(exact.ids), exact.truncated) == (32, False)
    write_settings(str(copied), ModelSettings(8))
    assert [len(row.ids) for row in ServedModel.load(str(copied)).encode(["is " * 30, "is"])] == [8, 3]


def test_pairs_are_two_segments(served):
    pair, single = served.encode([("good", "film"), "good film"])
    assert pair.types is not None
    assert set(pair.types.tolist()) == {0, 1}
    assert not np.array_equal(pair.ids, single.ids)


def test_onnx_answers_as_torch_does_and_files_of_other_models_are_refused(copied, served, quick_export, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no .*model\.onnx; make it with: raykd export"):
        exported_file(str(copied), form="onnx", int8=False)
    export(str(copied), int8=False, terminal=Terminal())
    rows = served.encode(TEXTS)
    onnx = ServedModel.load(str(copied), form="onnx")
    np.testing.assert_allclose(onnx.logits(rows), served.logits(rows), atol=1e-4)

    from tests.unit.serve.conftest import save_model

    other = save_model(tmp_path / "other", str(copied), seed=9)
    shutil.copytree(copied / "onnx", tmp_path / "other" / "onnx")
    with pytest.raises(ConfigError, match="was not exported from the model in"):
        exported_file(other, form="onnx", int8=False)


def test_openvino_answers_as_torch_does(copied, served, quick_export):
    pytest.importorskip("onnxscript", reason="pip install 'raykd[export]'")
    if find_spec("openvino") is None:
        pytest.skip("pip install 'raykd[openvino]'")
    with pytest.raises(
        ConfigError, match=r"there is no .*openvino_model\.xml; make it with: raykd export .* --format openvino"
    ):
        exported_file(str(copied), form="openvino", int8=False)
    export(str(copied), form="openvino", terminal=Terminal())
    rows = served.encode(TEXTS)
    openvino = ServedModel.load(str(copied), form="openvino")
    np.testing.assert_allclose(openvino.logits(rows), served.logits(rows), atol=1e-4)
    with pytest.raises(ConfigError, match=r"there is no .*model\.onnx; make it with"):
        exported_file(str(copied), form="onnx", int8=False)
