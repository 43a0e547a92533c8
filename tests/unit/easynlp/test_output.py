"""The prediction file: columns, their order, and how each number is written."""

import ast
import uuid

import numpy as np
import pyarrow as pa
import pytest

from raykd.data.parquet_files import write_part
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.side_tables import commit, logits_array
from raykd.easynlp.output import PredictionFormat, write_predictions
from raykd.errors import DataError, ResourceError

LABELS = ("neg", "pos", "mixed")
SCHEMA = "text:str:1,score:float:2,id:str:1"
LOGITS = np.array([[0.25, -1.5, 0.125], [-3.0, 2.0, 2.0], [1e-7, 12.345678, -0.1]], np.float32)


@pytest.fixture
def scored(tmp_path, world):
    """Three rows of ``rows.tsv`` with a header, and their logits."""
    (tmp_path / "rows.tsv").write_text("text\tscore\tid\ngood film\t1,2.5\tr1\n\t0,0\tr2\nbad\t3,4\t\textra\n")
    spec = PrepareSpec(
        files=(str(tmp_path / "rows.tsv"),), input_schema=SCHEMA, first_sequence="text", second_sequence=None, label=None,
        codec=None, skip_header=True, sequence_length=16, max_rejected_rows=0, tokenizer=world["student"], keep=None,
        strict_rows=False,
    )  # fmt: skip
    prepared = prepare(spec, str(tmp_path / "cache"))
    table = prepared.read_group(0, ["shard", "row"]).append_column("logits", logits_array(LOGITS))
    side = commit(str(tmp_path / "side"), prepared, [write_part(str(tmp_path / "side"), 0, [table])], ["logits"], {})
    assert isinstance(table, pa.Table)

    def write(columns, append=(), name="out.tsv", schema=SCHEMA):
        form = PredictionFormat(LABELS, columns, append)
        path = tmp_path / name
        rows = write_predictions(str(path), form, prepared, side, schema=schema, skip_header=True)
        lines = path.read_text(encoding="utf-8").split("\n")
        assert lines.pop() == ""
        assert rows == len(lines) == 3
        return [line.split("\t") for line in lines]

    return write


def test_columns_come_in_the_order_asked_for_then_input_columns(scored):
    first, second, third = scored(["logits", "predictions", "id"], ["id", "score", "text"])
    assert first == ["0.25,-1.5,0.125", "neg", "r1", "r1", "[1.0, 2.5]", "good film"]
    assert second == ["-3.0,2.0,2.0", "pos", "r2", "r2", "[0.0, 0.0]", ""]
    assert third[:2] == ["1e-07,12.345678,-0.1", "pos"]
    assert third[3] == ""


def test_the_ranking_holds_where_probabilities_round_to_zero():
    form = PredictionFormat(LABELS, ["predictions", "output"], ())
    logits = np.array([-300.0, 0.0, -200.0], np.float32)
    _, output = form.line("", {}, logits, form.probabilities(logits[None])[0]).rstrip("\n").split("\t")
    assert [one["pred"] for one in ast.literal_eval(output)] == ["pos", "mixed", "neg"]


def test_probabilities_are_the_shortest_float32(scored):
    for row, logits in zip(scored(["probabilities"]), LOGITS, strict=True):
        values = [np.float32(text) for text in row[0].split(",")]
        exact = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum()
        assert [str(value) for value in values] == row[0].split(",")
        np.testing.assert_allclose(values, exact, rtol=1e-6)


def test_output_is_python_text_sorted_by_probability(scored):
    first = scored(["output"])[0][0]
    ranking = ast.literal_eval(first)
    assert [list(one) for one in ranking] == [["pred", "prob", "logit"]] * 3
    assert [one["pred"] for one in ranking] == ["neg", "mixed", "pos"]
    assert ranking[2]["logit"] == -1.5
    assert ranking[0]["prob"] == float(np.float32(ranking[0]["prob"]))
    assert first.startswith("[{'pred': 'neg', 'prob': 0.4")


def test_an_id_is_a_uuid_where_the_input_has_none_and_stays_the_same(scored):
    without = SCHEMA.replace("id:", "name:")
    ids = [row[0] for row in scored(["id"], schema=without)]
    assert len({uuid.UUID(one) for one in ids}) == 3
    assert ids == [row[0] for row in scored(["id"], name="again.tsv", schema=without)]


def test_the_folder_of_the_file_is_made(scored):
    assert scored(["predictions"], name="new/deep/out.tsv")[0] == ["neg"]


def test_a_file_that_changed_leaves_nothing(scored, tmp_path):
    (tmp_path / "rows.tsv").write_text("text\tscore\tid\ngood film\t1,2.5\tr1\n")
    with pytest.raises(DataError, match="changed while it was read"):
        scored(["predictions"], ["text"])
    assert not (tmp_path / "out.tsv").exists()


def test_a_place_that_cannot_be_written_is_named(scored, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((ResourceError, DataError), match="file"):
        scored(["predictions"], name="file/out.tsv")
