"""Preparing without Ray: tokens, labels, rejected rows, the cache."""

import gzip
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from raykd.config import DataConfig
from raykd.data import sources, storage
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec, spec_from_config
from raykd.data.splits import HashRange
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ConfigError, DataError, ModelError, RaykdError
from raykd.task_kinds import SINGLE_LABEL, label_codec, task_kind

PrepareRows = Callable[..., TokenisedSet]
MakeTokenizer = Callable[..., str]
PAD, UNK, CLS, SEP, GOOD, BAD, FILM, BOOK = range(8)


def table(prepared: TokenisedSet) -> pa.Table:
    return pa.concat_tables(prepared.read_group(group) for group in range(len(prepared.group_rows)))


def test_rows_labels_and_tokens(prepare_rows: PrepareRows) -> None:
    prepared = prepare_rows("good film\tpos\nbad\tneg\n\tneg\nfilm film film film film film film film\tpos\n")
    rows = table(prepared).to_pydict()
    assert rows["shard"] == [0, 0, 0, 0]
    assert rows["row"] == [0, 1, 2, 3]
    assert rows["label"] == [1, 0, 0, 1]
    assert rows["input_ids"] == [[CLS, GOOD, FILM, SEP], [CLS, BAD, SEP], [CLS, SEP], [CLS, *[FILM] * 6, SEP]]
    assert rows["token_type_ids"] == [[0] * 4, [0] * 3, [0] * 2, [0] * 8]
    assert rows["length"] == [4, 3, 2, 8]
    assert prepared.lengths(0).tolist() == [4, 3, 2, 8]
    assert prepared.lengths(0).dtype == np.int32
    assert (prepared.num_rows, prepared.max_length, prepared.pad_token_id, prepared.labels) == (4, 8, PAD, ("neg", "pos"))
    assert table(prepared).schema.field("input_ids").type.value_type == pa.int32()
    assert prepared == TokenisedSet.open(prepared.path)


def test_rows_with_any_number_of_labels(prepare_rows: PrepareRows) -> None:
    content = "good film\tpos,long\nbad\t\nfilm\tlong,,long\n"
    codec = task_kind("multi_label").label_codec(("neg", "pos", "long"))
    prepared = prepare_rows(content, codec=codec)
    assert table(prepared)["label"].to_pylist() == [[0, 1, 1], [0, 0, 0], [0, 0, 1]]
    assert TokenisedSet.open(prepared.path) == prepared
    with pytest.raises(DataError, match=r"rows\.tsv:2: label 'good' is not one of 'neg', 'pos', 'long'"):
        prepare_rows("good\tpos\nbad\tneg,good\n", codec=codec)


def test_one_label_a_row_and_any_number_are_two_sets(prepare_rows: PrepareRows) -> None:
    kinds = task_kind("single_label"), task_kind("multi_label")
    one, many = (prepare_rows("good film\tpos\n", codec=kind.label_codec(("neg", "pos"))) for kind in kinds)
    assert one.fingerprint != many.fingerprint
    assert (table(one)["label"].to_pylist(), table(many)["label"].to_pylist()) == ([1], [[0, 1]])


def test_tokens_are_those_of_transformers(prepare_rows: PrepareRows, spec: PrepareSpec) -> None:
    from transformers import AutoTokenizer

    texts = [("good films", "bad book a b c"), ("a b c a b c", "film"), ("", ""), ("[SEP] é", "x"), ("a", ""), ("", "b c")]
    lines = "".join(f"{first}\t{second}\n" for first, second in texts)
    columns = {"input_schema": "a:str:1,b:str:1", "first_sequence": "a", "second_sequence": "b", "label": None, "codec": None}
    tokenizer = AutoTokenizer.from_pretrained(spec.tokenizer)
    for length in (4, 7, 30):
        rows = table(prepare_rows(lines, **columns, sequence_length=length)).to_pydict()
        expected = [tokenizer(*text, truncation="longest_first", max_length=length) for text in texts]  # as a pipeline does
        assert rows["input_ids"] == [one["input_ids"] for one in expected]
        assert rows["token_type_ids"] == [one["token_type_ids"] for one in expected]
        assert "label" not in rows


def test_extra_columns(prepare_rows: PrepareRows) -> None:
    schema = "text:str:1,label:str:1,domain:str:1,count:int:1,weight:float:1,logits:float:2"
    rows = table(
        prepare_rows("a\tpos\tdvd\t3\t0.5\t1,2.5\n", input_schema=schema, extra_columns=("domain", "count", "weight", "logits"))
    )
    assert rows.select(["domain", "count", "weight", "logits"]).to_pylist() == [
        {"domain": "dvd", "count": 3, "weight": 0.5, "logits": [1.0, 2.5]}
    ]


def test_row_groups_and_files(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    (tmp_path / "z.tsv.gz").write_bytes(gzip.compress(b"good\tpos\n" * 5000))
    prepared = prepare_rows("bad\tneg\n" * 2049, files=(str(tmp_path / "*.tsv*"),))
    assert prepared.group_rows.tolist() == [2048, 1, 2048, 2048, 904]
    assert [source.rows for source in prepared.sources] == [2049, 5000]
    rows = table(prepared).to_pydict()
    assert rows["shard"] == [0] * 2049 + [1] * 5000
    assert rows["row"] == [*range(2049), *range(5000)]
    with pytest.raises(DataError, match="row groups 0 to 4, but not 5"):
        prepared.read_group(5)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "the line is blank"),
        (b"no label", "1 column where 2 are needed"),
        (b"a\tPos", "label 'Pos' is not one of 'neg', 'pos'"),
        (b"a\tpos\tmore", "3 columns where input_schema has 2 .text, label.; replace tabs"),
        (b"a\tb\tpos", "3 columns where input_schema has 2"),
        (b"a\tpos\t", "3 columns where input_schema has 2"),
        (b"a\tpos\rb\tneg", "look like line ends"),
        (b"text\tlabel", "the names of the columns; set data.skip_header"),
        (b"\xef\xbb\xbfa\tpos", "a byte-order mark inside the file"),
        (b"a\x00b\tpos", "bytes 0x00 as UTF-16 has them"),
        (b"a\xff\tpos", "not UTF-8 text: invalid start byte .byte 0xff at position 1."),
    ],
)
def test_a_bad_row_stops_the_run(prepare_rows: PrepareRows, tmp_path: Path, line: bytes, reason: str) -> None:
    content = b"good\tpos\r\n" + line + b"\nbad\tneg\n"
    with pytest.raises(DataError, match=rf"rows\.tsv:2: .*{reason}.*max_rejected_rows"):
        prepare_rows(content)
    assert not list((tmp_path / "cache" / "prepared").glob("*/*"))
    prepared = prepare_rows(content, max_rejected_rows=1)
    assert (prepared.read, prepared.num_rows, prepared.rejected) == (3, 2, 1)
    assert table(prepared)["row"].to_pylist() == [0, 2]
    with pytest.raises(DataError, match=r"rows\.tsv:2"):
        prepare_rows(content)


MAC = "the file is one row that holds carriage returns"


@pytest.mark.parametrize(
    ("content", "changes", "complaint"),
    [
        ("good\tpos\n".encode("utf-16"), {}, r"rows\.tsv:1: not UTF-8 text: a UTF-16 mark"),
        ("good\tpos\n".encode("utf-16-be"), {}, r"rows\.tsv:1: not UTF-8 text: .*0x00"),
        ("text\tlabel\ngood\tpos\n".encode("utf-16"), {"skip_header": True}, r"rows\.tsv:\d: not UTF-8 text"),
        (b"good\tpos\rbad\tneg\r", {}, r"rows\.tsv:1: 3 columns .* look like line ends"),
        (b"good\rbad\r", {"input_schema": "text:str:1", "label": None, "codec": None}, MAC),
        (
            b"text\ngood\n",
            {"input_schema": "text:str:1", "label": None, "codec": None},
            r"rows\.tsv:1: .*set data\.skip_header",
        ),
        (b"text\tlabel\rgood\tpos\r", {"skip_header": True}, r"rows\.tsv:1: the header holds carriage returns"),
        (
            b"good\tpos\nbad\tneg\n",
            {"skip_header": True},
            r"rows\.tsv:1: data\.skip_header = true, but the first line is a row",
        ),
        (
            b"label\ttext\npos\tgood\n",
            {"skip_header": True},
            r"rows\.tsv:1: 'text' is column 2 of the header, but column 1 of data\.input_schema; .*\(label, text\)",
        ),
    ],
)
def test_files_of_another_shape_are_named(
    prepare_rows: PrepareRows, content: bytes, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        prepare_rows(content, **changes)


@pytest.mark.parametrize("packed", [False, True])
def test_a_row_that_ends_in_a_line_feed_may_hold_carriage_returns(
    prepare_rows: PrepareRows, tmp_path: Path, packed: bool
) -> None:
    (tmp_path / "one.tsv.gz").write_bytes(gzip.compress(b"good\rfilm\tpos\n"))
    files = {"files": (str(tmp_path / "one.tsv.gz"),)} if packed else {}
    assert prepare_rows(b"good\rfilm\tpos\n", **files).num_rows == 1


@pytest.mark.parametrize("header", [b"text\tlabel", b"\xef\xbb\xbftext\tlabel", b"sentence\tgold", b"", b"text"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_headers_of_any_name_are_skipped(prepare_rows: PrepareRows, header: bytes, end: bytes) -> None:
    prepared = prepare_rows(end.join([header, b"good\tpos", b"bad\tneg"]), skip_header=True)
    assert (prepared.num_rows, prepared.rejected) == (2, 0)


def test_a_header_of_joined_files_is_refused_where_it_stands(prepare_rows: PrepareRows) -> None:
    with pytest.raises(DataError, match=r"rows\.tsv:3: the line holds the names of the columns"):
        prepare_rows("text\tlabel\ngood\tpos\ntext\tlabel\nbad\tneg\n", skip_header=True)
    unlabelled = {"label": None, "codec": None}
    with pytest.raises(DataError, match=r"rows\.tsv:1: the line holds the names of the columns"):
        prepare_rows("text\tlabel\ngood\tpos\n", **unlabelled)


def test_rows_that_easynlp_takes_are_taken_where_they_are_asked_for(prepare_rows: PrepareRows) -> None:
    content = b"good\tpos\tmore\n\xef\xbb\xbfbad\tneg\nba\x00d\tneg\n"
    assert prepare_rows(content, strict_rows=False).num_rows == 3
    with pytest.raises(DataError, match=r"rows\.tsv:1: 3 columns"):
        prepare_rows(content)


def test_rejected_rows_have_a_side_file(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    prepared = prepare_rows(
        b"head\tline\r\ngood\tpos\n\n\\x\xff\xc3\xa9\r\tpos\nbad\tneg\n", skip_header=True, max_rejected_rows=2
    )
    lines = [line.split("\t") for line in storage.read_bytes(f"{prepared.path}/rejected.tsv").decode().splitlines()]
    path = str(tmp_path / "rows.tsv")
    assert [line[:2] for line in lines] == [[path, "3"], [path, "4"]]
    assert lines[0][2:] == ["the line is blank", ""]
    assert lines[1][3].encode().decode("unicode_escape").encode("latin-1") == b"\\x\xff\xc3\xa9\r\tpos"
    with pytest.raises(DataError, match=r"more than data\.max_rejected_rows = 1 .* the first of them: .*rows\.tsv:3"):
        prepare_rows(b"x\ngood\tpos\n\n\nbad\tneg\n", skip_header=True, max_rejected_rows=1)


@pytest.mark.parametrize(
    ("content", "changes"), [("", {}), ("head\n", {"skip_header": True}), ("\n\n", {"max_rejected_rows": 5})]
)
def test_no_rows_is_an_error(prepare_rows: PrepareRows, content: str, changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"rows\.tsv: no row is left"):
        prepare_rows(content, **changes)


def test_a_split_is_by_text(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    content = "".join(f"text {number % 500}\tpos\n" for number in range(1000)) + "broken\n"
    parts = [prepare_rows(content, keep=keep, max_rejected_rows=1) for keep in (HashRange(0, 0.3), HashRange(0.3, 1))]
    kept = [set(table(part)["row"].to_pylist()) for part in parts]
    assert kept[0] | kept[1] == set(range(1000))
    assert not kept[0] & kept[1]
    assert {row % 500 for row in kept[0]} & {row % 500 for row in kept[1]} == set()
    assert 200 < len(kept[0]) < 400
    for part in parts:
        assert part.read == 1001 == part.num_rows + part.rejected + part.filtered
    assert parts[0].rows_fingerprint != parts[1].rows_fingerprint


def test_near_duplicates_share_a_split(prepare_rows: PrepareRows) -> None:
    """Texts that differ in case, white space or compatible characters are the same text to a reader of a verdict."""
    texts = [
        f"{form} {number}" for number in range(200) for form in ("good film", "Good  film", "good \ufb01lm", " GOOD film ")
    ]
    content = "".join(f"{text} \tpos\n" for text in texts)
    ranges = HashRange(0.2, 0.7), HashRange(0, 0.2), HashRange(0.7, 1)
    splits = [{row // 4 for row in table(prepare_rows(content, keep=keep))["row"].to_pylist()} for keep in ranges]
    assert sum(map(len, splits)) == 200
    assert set.union(*splits) == set(range(200))


LINE_PIECES = [b"good", b"\t", b"\tpos", b"\tneg\r", b"bad\tneg", b"\xff", "é\u2028".encode(), b'"', b"\r", b"\xef\xbb\xbf"]
LINES = st.lists(st.sampled_from(LINE_PIECES) | st.binary(max_size=4), max_size=4).map(b"".join)
ROWS = st.tuples(st.lists(LINES, max_size=25).map(b"\n".join), st.sampled_from([b"", b"\n"])).map(b"".join)


@example(content=b"\n\r\tpos\n\n", skip_header=True, compress=False, fraction=None)
@given(content=ROWS, skip_header=st.booleans(), compress=st.booleans(), fraction=st.none() | st.sampled_from([0.2, 0.9]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_accounted_for(
    *, spec: PrepareSpec, tmp_path: Path, content: bytes, skip_header: bool, compress: bool, fraction: float | None
) -> None:
    path = tmp_path / ("any.tsv.gz" if compress else "any.tsv")
    path.write_bytes(gzip.compress(content) if compress else content)
    keep = None if fraction is None else HashRange(0, fraction)
    wanted = replace(spec, files=(str(path),), skip_header=skip_header, max_rejected_rows=1000, keep=keep)
    found: dict[int, list[tuple[Any, ...]]] = {}
    with pytest.MonkeyPatch.context() as patch:
        for chunk_bytes in (4, 16, 4096):
            patch.setattr(sources, "CHUNK_BYTES", chunk_bytes)
            try:
                prepared = prepare(wanted, str(tmp_path / "cache"))
            except RaykdError as error:
                assert re.search(r"no row is left|any\.tsv(\.gz)?:1: ", str(error))  # noqa: PT017
                continue
            rows = table(prepared)
            assert prepared.read == prepared.num_rows + prepared.rejected + prepared.filtered
            found[chunk_bytes] = list(zip(*rows.drop(["token_type_ids"]).to_pydict().values(), strict=True))
            assert len(found[chunk_bytes]) == prepared.num_rows
    assert len(found) in (0, 3)
    assert all(rows == found[4096] for rows in found.values())


def test_a_wrong_header_is_found_though_the_rows_below_it_are_prepared(prepare_rows: PrepareRows) -> None:
    assert prepare_rows("text\tlabel\ngood\tpos\n", skip_header=True).num_rows == 1
    with pytest.raises(DataError, match="the first line is a row with a label"):
        prepare_rows("bad\tneg\ngood\tpos\n", skip_header=True)


def test_a_set_is_made_once(
    prepare_rows: PrepareRows, spec: PrepareSpec, tmp_path: Path, make_tokenizer: MakeTokenizer
) -> None:
    told: list[tuple[int, int]] = []
    content = "good\tpos\nbad\tneg\n"
    made = prepare_rows(content)
    cache = str(tmp_path / "cache")
    assert prepare(spec, cache, progress=lambda *done: told.append(done)) == made
    assert told == []
    (tmp_path / "copy.tsv").write_text(content)
    assert prepare(replace(spec, files=(str(tmp_path / "copy.tsv"),)), cache).path == made.path
    changes: list[dict[str, Any]] = [
        {"sequence_length": 7},
        {"codec": SINGLE_LABEL.label_codec(("pos", "neg"))},
        {"label": None, "codec": None},
        {"keep": HashRange(0, 0.999)},
        {"extra_columns": ("text",)},
        {"tokenizer": make_tokenizer("other", words=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "x"))},
    ]
    sets = [prepare(replace(spec, **change), cache, progress=lambda *done: told.append(done)) for change in changes]
    assert len({made.path, *(other.path for other in sets)}) == 7
    assert told == [(1, 1)] * 6
    same_rows = [other.rows_fingerprint == made.rows_fingerprint for other in sets]
    assert same_rows == [True, False, False, False, True, True]
    assert prepare_rows("good\tpos\nbad\tpos\n").rows_fingerprint != made.rows_fingerprint


def test_chunks_become_parts_of_the_same_rows(prepare_rows: PrepareRows, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "".join(f"{'a b c ' * (number % 7)}\t{('neg', 'pos')[number % 2]}\n" for number in range(500))
    whole = table(prepare_rows(content))
    monkeypatch.setattr(sources, "CHUNK_BYTES", 1000)
    prepared = prepare_rows(content)
    assert len(prepared.parts) > 5
    assert table(prepared).equals(whole)


def test_a_run_that_was_overtaken_takes_the_other_set(prepare_rows: PrepareRows, spec: PrepareSpec, tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("good\tpos\n")
    cache = str(tmp_path / "cache")
    others: list[TokenisedSet] = []
    mine = prepare(spec, cache, progress=lambda done, total: others.append(prepare(spec, cache)))
    assert [mine] == others
    assert len(list(Path(mine.path).glob("*.parquet"))) == 1


def test_files_are_counted_once(spec: PrepareSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = tmp_path / "rows.tsv", str(tmp_path / "cache")
    path.write_text("good\tpos\n")
    first = sources.find_sources(spec.files, False, cache)
    assert not (tmp_path / "cache").exists()
    os.utime(path, (1, 1))
    assert sources.find_sources(spec.files, False, cache) == first
    monkeypatch.setattr(sources, "scan", None)
    assert sources.find_sources(spec.files, False, cache) == first
    os.utime(path, (2, 2))
    with pytest.raises(TypeError):
        sources.find_sources(spec.files, False, cache)


def test_the_tokenizer_counts_and_not_its_folder(spec: PrepareSpec, prepare_rows: PrepareRows, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    made = prepare_rows("good\tpos\n")
    tokenizer = AutoTokenizer.from_pretrained(spec.tokenizer)
    tokenizer(["good film"], truncation=True, max_length=3, padding=True)  # leaves settings in the saved file
    tokenizer.save_pretrained(tmp_path / "saved")
    assert prepare_rows("good\tpos\n", tokenizer=str(tmp_path / "saved")).path == made.path


def test_damage_is_repaired(prepare_rows: PrepareRows) -> None:
    made = prepare_rows("good\tpos\n")
    part = Path(made.path) / made.parts[0].file
    part.write_bytes(part.read_bytes()[:-5])
    again = prepare_rows("good\tpos\n")
    assert again.read_group(0)["label"].to_pylist() == [1]
    assert again.parts[0].digest == made.parts[0].digest


def test_files_that_no_manifest_names_do_not_count(prepare_rows: PrepareRows) -> None:
    made = prepare_rows("good\tpos\n")
    (Path(made.path) / "part-000001-left-behind.parquet").write_bytes(b"PAR1")
    assert TokenisedSet.open(made.path).num_rows == 1
    (Path(made.path) / "manifest.json").unlink()
    with pytest.raises(DataError, match="no prepared set"):
        TokenisedSet.open(made.path)


def test_columns_and_schema_must_fit(prepare_rows: PrepareRows) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"first_sequence": "body"}, "'body' is not a column"),
        ({"second_sequence": "body"}, "'body' is not a column"),
        ({"extra_columns": ("domain",)}, "'domain' is not a column"),
        ({"extra_columns": ("label",)}, "'label' cannot be kept"),
        ({"input_schema": "text:int:1,label:str:1"}, "make it text:str:1"),
        ({"input_schema": "text:str:1,label:int:2"}, "make it label:str:1"),
        ({"codec": None}, "both, or neither"),
    ]
    for changes, complaint in cases:
        with pytest.raises(ConfigError, match=complaint):
            prepare_rows("good\tpos\n", **changes)


def test_integer_labels(prepare_rows: PrepareRows) -> None:
    prepared = prepare_rows(
        "good\t1\nbad\t0\n", input_schema="text:str:1,label:int:1", codec=SINGLE_LABEL.label_codec(("0", "1"))
    )
    assert table(prepared)["label"].to_pylist() == [1, 0]


def test_tokenizers_that_cannot_be_used(prepare_rows: PrepareRows, tmp_path: Path, make_tokenizer: MakeTokenizer) -> None:
    (tmp_path / "empty").mkdir()
    no_pad = make_tokenizer("no_pad", pad_token=None)
    broken = make_tokenizer("broken")
    (tmp_path / "broken" / "tokenizer.json").write_text("{}")
    for folder, complaint in (
        (str(tmp_path / "absent"), "does not exist"),
        (str(tmp_path / "empty"), "holds no tokenizer"),
        (no_pad, "no padding token"),
        (broken, "no tokenizer can be loaded"),
    ):
        with pytest.raises(ModelError, match=complaint):
            prepare_rows("good\tpos\n", tokenizer=folder)


def test_no_token_types_where_the_model_takes_none(prepare_rows: PrepareRows, make_tokenizer: MakeTokenizer) -> None:
    prepared = prepare_rows("good\tpos\n", tokenizer=make_tokenizer("plain", token_types=False))
    assert not prepared.has_token_types
    assert "token_type_ids" not in prepared.read_group(0).column_names


def test_everything_on_another_file_system(spec: PrepareSpec) -> None:
    base = "mock://prepare"
    storage.write_bytes(f"{base}/in/a.tsv", b"good\tpos\n")
    storage.write_bytes(f"{base}/in/b.tsv.gz", gzip.compress(b"\nbad\tneg\n"))
    storage.upload_dir(spec.tokenizer, f"{base}/model")
    wanted = replace(spec, files=(f"{base}/in/*",), tokenizer=f"{base}/model", max_rejected_rows=1)
    prepared = prepare(wanted, f"{base}/cache")
    assert prepared.path.startswith(base)
    assert table(prepared)["input_ids"].to_pylist() == [[CLS, GOOD, SEP], [CLS, BAD, SEP]]
    assert storage.exists(f"{prepared.path}/rejected.tsv")
    assert prepare(wanted, f"{base}/cache") == prepared


def test_specs_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"neg\r\n pos \n")
    values: dict[str, Any] = {
        "input_schema": "text:str:1,label:str:1",
        "first_sequence": "text",
        "label": "label",
        "labels": str(tmp_path / "labels.txt"),
        "train": ("a.tsv",),
        "test": ("t.tsv",),
        "validation": 0.1,
    }
    config = DataConfig(**values)
    train, validation, test = (
        spec_from_config(config, part, "model", label_codec(config)) for part in ("train", "validation", "test")
    )  # type: ignore[arg-type]  # the name of a split
    assert (train.files, train.keep) == (("a.tsv",), HashRange(0.1, 1))
    assert (validation.files, validation.keep) == (("a.tsv",), HashRange(0, 0.1))
    assert (test.files, test.keep) == (("t.tsv",), None)
    assert train.codec == SINGLE_LABEL.label_codec(("neg", "pos"))
    held_out = DataConfig(**{**values, "test": 0.2})
    keeps = [spec_from_config(held_out, part, "m", label_codec(held_out)).keep for part in ("train", "validation", "test")]  # type: ignore[arg-type]  # the name of a split
    assert keeps == [HashRange(0.1, 0.8), HashRange(0, 0.1), HashRange(0.8, 1)]
    same = DataConfig(**{**values, "test": "validation"})
    assert spec_from_config(same, "test", "m", label_codec(same)) == spec_from_config(
        same, "validation", "m", label_codec(same)
    )
    files = DataConfig(**{**values, "validation": ("s.tsv",), "label": None})
    specs = [spec_from_config(files, part, "m", label_codec(files)) for part in ("train", "validation")]  # type: ignore[arg-type]  # the name of a split
    assert [one.keep for one in specs] == [None, None]
    assert spec_from_config(files, "validation", "m", label_codec(files)).files == ("s.tsv",)
    assert spec_from_config(files, "train", "m", label_codec(files)).codec is None
    json.dumps(asdict(train))


def test_real_rows(shared_data: Path, shared_models: Path, tmp_path: Path, spec: PrepareSpec) -> None:
    """MRPC holds quotes, which are plain characters, and text that is not ASCII."""
    mrpc = replace(
        spec,
        files=(str(shared_data / "mrpc" / "train.tsv"),),
        input_schema="label:str:1,sid1:str:1,sid2:str:1,sent1:str:1,sent2:str:1",
        first_sequence="sent1",
        second_sequence="sent2",
        codec=SINGLE_LABEL.label_codec(("0", "1")),
        sequence_length=128,
        tokenizer=str(shared_models / "review-tiny"),
    )
    prepared = prepare(mrpc, str(tmp_path / "cache"))
    assert prepared.num_rows == 3668
    assert sum(table(prepared)["label"].to_pylist()) == 2474
