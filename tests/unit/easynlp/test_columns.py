"""Columns of the data, and the position of the logits."""

import gzip
import re

import pytest

from raykd.easynlp.columns import FileColumns, LogitsFile, count_columns
from raykd.errors import ConfigError, DataError


def columns(schema, *, label="label", labels=("0", "1")):
    return FileColumns(schema, "sent", None, label, labels, skip_header=False, sequence_length=16)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("a film\t1\nbad\t0\n")
    return str(path)


def test_logits_follow_the_data_columns(data):
    own, column = LogitsFile("l.tsv", "logits").split(columns("sent:str:1,label:str:1,logits:float:2"), data)
    assert (own.schema, column) == ("sent:str:1,label:str:1", 0)


def test_the_logits_file_may_have_other_columns_before_and_behind(data):
    schema = "sent:str:1,label:str:1,pred:str:1,logits:float:2,sid:str:1"
    assert LogitsFile("l.tsv", "logits").split(columns(schema), data)[1] == 1


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("sent:str:1,label:str:1", "logits_name=logits is not a column of --input_schema (sent, label); add logits:float:2"),
        ("sent:str:1,label:str:1,logits:float:3", "logits:float:3, but there are 2 labels; make it logits:float:2"),
        ("sent:str:1,label:str:1,logits:str:1", "make it logits:float:2"),
        ("sent:str:1,logits:float:2,label:str:1", "logits as column 2, but rows of"),
    ],
)
def test_a_schema_without_place_for_the_logits(data, schema, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        LogitsFile("l.tsv", "logits").split(columns(schema), data)


def test_a_label_column_that_the_data_does_not_have(tmp_path):
    (tmp_path / "one.tsv").write_text("a film\n")
    with pytest.raises(ConfigError, match="--label_name=label is not a column"):
        LogitsFile("l.tsv", "logits").split(columns("sent:str:1,label:str:1,logits:float:2"), str(tmp_path / "one.tsv"))


def test_absent_columns_at_the_end_are_left_out_unless_read(data):
    wide = columns("sent:str:1,label:str:1,logits:float:2,x:str:1")
    assert wide.fitted(data).schema == "sent:str:1,label:str:1"
    assert wide.fitted(data, also=("logits",)).schema == "sent:str:1,label:str:1,logits:float:2"


def test_more_columns_than_the_schema_are_fine(data):
    assert columns("sent:str:1", label=None).fitted(data).schema == "sent:str:1"


def test_counting(tmp_path, data):
    (tmp_path / "z.tsv.gz").write_bytes(gzip.compress(b"a\tb\tc\n"))
    (tmp_path / "long.tsv").write_text("x" * 100_000 + "\ty\nz\n")
    (tmp_path / "empty.tsv").write_bytes(b"")
    (tmp_path / "broken.tsv.gz").write_bytes(b"nothing of the kind")
    assert [count_columns(str(tmp_path / name)) for name in ("train.tsv", "z.tsv.gz", "long.tsv", "trai*.tsv")] == [2, 3, 2, 2]
    with pytest.raises(DataError, match=r"empty\.tsv is empty"):
        count_columns(str(tmp_path / "empty.tsv"))
    with pytest.raises(DataError, match="not a whole gzip file"):
        count_columns(str(tmp_path / "broken.tsv.gz"))
    with pytest.raises(DataError, match="does not exist"):
        count_columns(str(tmp_path / "absent.tsv"))
