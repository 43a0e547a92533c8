"""OpenVINO files: logits of the ONNX file they were made from, and errors in one sentence."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from raykd.errors import ModelError
from raykd.models.exported_file import file_parts, open_exported
from raykd.models.openvino import convert_onnx, weights_beside

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="pip install 'raykd[openvino]'")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, student_onnx: str) -> tuple[str, str]:
    """The student as an ONNX file, and as OpenVINO's."""
    openvino = str(tmp_path_factory.mktemp("openvino") / "openvino_model.xml")
    convert_onnx(student_onnx, openvino)
    return student_onnx, openvino


def batch(rows: int, tokens: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(rows)
    mask = (np.arange(tokens)[None] < draw.integers(1, tokens + 1, rows)[:, None]).astype(np.int64)
    return {"input_ids": draw.integers(1, 20, (rows, tokens)), "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}


def test_rows_of_all_shapes_have_the_logits_of_the_onnx_file(files: tuple[str, str]) -> None:
    onnx, openvino = (open_exported(file) for file in files)
    for shape in ((1, 3), (5, 9), (32, 32)):
        np.testing.assert_allclose(openvino(batch(*shape)), onnx(batch(*shape)), atol=1e-5)


def test_weights_keep_all_their_bits(files: tuple[str, str]) -> None:
    """Half of the bytes would be float16."""
    from raykd.extras import import_extra

    model = import_extra("openvino").Core().read_model(files[1])
    types = {node.get_element_type().get_type_name() for node in model.get_ops() if node.get_type_name() == "Constant"}
    assert "f16" not in types
    assert "f32" in types


def test_two_files_belong_together(files: tuple[str, str]) -> None:
    assert file_parts(files[0]) == [files[0]]
    assert file_parts(files[1]) == [weights_beside(files[1]), files[1]]
    assert file_parts("s3://bucket/openvino_model.xml")[0] == "s3://bucket/openvino_model.bin"
    assert all(Path(part).is_file() for part in file_parts(files[1]))


def test_damaged_files_are_an_error_with_the_reason(files: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "openvino_model.xml").write_bytes(Path(files[1]).read_bytes())
    (tmp_path / "openvino_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"OpenVINO cannot open .*openvino_model\.xml: .*weights.*; export it again$"):
        open_exported(str(tmp_path / "openvino_model.xml"))


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match="cannot be converted to OpenVINO: "):
        convert_onnx(str(tmp_path / "model.onnx"), str(tmp_path / "openvino_model.xml"))


def test_an_input_that_the_batch_lacks_is_named(files: tuple[str, str]) -> None:
    with pytest.raises(ModelError, match="the exported file takes attention_mask, which the model's tokenizer does not make"):
        open_exported(files[1])({"input_ids": np.ones((1, 4), np.int64), "token_type_ids": np.zeros((1, 4), np.int64)})
