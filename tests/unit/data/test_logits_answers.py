"""Answers joined to rows by position and by id: every row gets its own, and what does not match is counted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raykd.data.answer_files import read_answers
from raykd.data.answer_values import AnswerValues
from raykd.data.logits_answers import IdJoin, JoinCounts, import_answers, read_ids
from raykd.data.side_tables import SideTable, logits_numpy
from raykd.data.splits import HashRange
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError

PrepareRows = Callable[..., TokenisedSet]
KEYED = {"input_schema": "id:str:1,text:str:1,label:str:1", "extra_columns": ("id",)}
VALUES = AnswerValues("logits", ("neg", "pos"))


def logits_of(side: SideTable) -> np.ndarray:
    return np.concatenate([logits_numpy(side.read_group(i)["logits"]) for i in range(len(side.group_rows))])


def write_answers(path: Path, answers: list[tuple[str | int, list[float]]]) -> str:
    path.write_text("".join(json.dumps({"id": key, "logits": value}) + "\n" for key, value in answers))
    return str(path)


def joined(path: str, prepared: TokenisedSet, everything: TokenisedSet, **allowed: bool) -> tuple[SideTable, JoinCounts]:
    join = IdJoin("id", read_ids(everything, "id"), **allowed)
    answers = read_answers(path, column="logits", key="id", votes=False)
    return import_answers(answers, VALUES, prepared, path=path, out=f"{path}-side", join=join)


@given(st.lists(st.text(st.characters(exclude_characters="\t\n\r\0", exclude_categories=["Cs"]), min_size=1, max_size=6),
                min_size=1, max_size=12, unique=True), st.randoms(use_true_random=False))  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_any_order_of_ids_gives_every_row_its_own(prepare_rows: PrepareRows, tmp_path: Path, ids: list[str], draw: Any) -> None:
    everything = prepare_rows("".join(f"{key}\tgood film {n}\tpos\n" for n, key in enumerate(ids)), **KEYED)
    answers = [(key, [float(n), -float(n)]) for n, key in enumerate(ids)]
    draw.shuffle(answers)
    side, counts = joined(write_answers(tmp_path / "a.jsonl", answers), everything, everything)
    assert logits_of(side)[:, 0].tolist() == [float(n) for n in range(len(ids))]
    assert counts == JoinCounts(len(ids))


@pytest.mark.parametrize(("name", "answer"), [("a.tsv", "1,2\n"), ("a.jsonl", "[1, 2]\n"), ("a.csv", '"1,2"\n')])
def test_blank_lines_at_the_end_are_neither_rows_nor_answers(
    name: str, answer: str, prepare_rows: PrepareRows, tmp_path: Path
) -> None:
    prepared = prepare_rows("good\tpos\nbad\tneg\n\n\r\n")
    for end in ("", "\n", "\r\n\n\n"):
        (tmp_path / name).write_text(("logits\n" if name.endswith("csv") else "") + answer * 2 + end)
        answers = read_answers(str(tmp_path / name), column="logits" if name.endswith("csv") else 0, key=None, votes=False)
        _, counts = import_answers(answers, VALUES, prepared, path=name, out=str(tmp_path / f"side-{len(end)}"))
        assert counts == JoinCounts(2)


def test_ids_of_other_splits_are_not_unknown(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    rows = "".join(f"{n}\tgood film {n}\tpos\n" for n in range(3000))
    everything = prepare_rows(rows, **KEYED)
    train = prepare_rows(rows, **{**KEYED, "extra_columns": (), "keep": HashRange(0, 0.5)})
    assert 0 < train.num_rows < 3000
    path = write_answers(tmp_path / "a.jsonl", [(n, [float(n), 0.0]) for n in reversed(range(3000))])
    side, counts = joined(path, train, everything)
    names = np.concatenate([train.read_group(g)["row"].to_numpy() for g in range(len(train.group_rows))])
    np.testing.assert_array_equal(logits_of(side)[:, 0], names.astype(np.float32))
    assert counts == JoinCounts(3000)
    assert side.provenance["counts"] == {"answers": 3000, "missing": 0, "unknown": 0}


def test_ids_that_do_not_match_are_counted(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    rows = prepare_rows("a\tgood\tpos\nb\tbad\tneg\nc\tfilm\tneg\n", **KEYED)
    path = write_answers(tmp_path / "a.jsonl", [("b", [1, 2]), ("x", [3, 4]), ("y", [3, 4])])
    with pytest.raises(
        DataError, match=r"'id': ids of no row of the training files \(2 in 3 answers\): 'x', 'y'; .*unknown_ids"
    ):
        joined(path, rows, rows)
    with pytest.raises(DataError, match=r"training rows without an answer \(2 in 3 answers\): 'a', 'c'; .*missing_ids"):
        joined(path, rows, rows, allow_unknown=True)
    side, counts = joined(path, rows, rows, allow_unknown=True, allow_missing=True)
    assert counts.summary == "3 answers, 2 training rows without one (uniform), 2 of unknown ids (ignored)"
    np.testing.assert_allclose(np.exp(logits_of(side)[[0, 2]]), 0.5, rtol=1e-6)
    assert logits_of(side)[1].tolist() == [1, 2]

    write_answers(tmp_path / "a.jsonl", [("a", [1, 2]), ("b", [3, 4]), ("a", [1, 2]), ("c", [3, 4])])
    for allowed in (False, True):
        with pytest.raises(DataError, match=r"ids that stand twice \(1 in 4 answers\): 'a'; give each once"):
            joined(path, rows, rows, allow_unknown=allowed, allow_missing=allowed)
    repeated = prepare_rows("a\tgood\tpos\na\tbad\tneg\n", **KEYED)
    with pytest.raises(DataError, match="the id 'a' stands twice in column 'id' of the training files"):
        read_ids(repeated, "id")


def test_positions_count_source_rows(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    content = "".join(f"text {number}\tpos\n" for number in range(2500)) + "\n" + "text\tneg\n" * 100
    prepared = prepare_rows(content, max_rejected_rows=1, keep=HashRange(0, 0.6))
    path = tmp_path / "a.tsv"
    path.write_text("".join(f"{n},-{n}\n" for n in range(2601)))

    def convert() -> tuple[SideTable, JoinCounts]:
        answers = read_answers(str(path), column=0, key=None, votes=False)
        return import_answers(answers, VALUES, prepared, path=str(path), out=str(tmp_path / "side"))

    side, counts = convert()
    names = np.concatenate([prepared.read_group(g)["row"].to_numpy() for g in range(len(prepared.group_rows))])
    np.testing.assert_array_equal(logits_of(side)[:, 0], names.astype(np.float32))
    assert counts == JoinCounts(2601)
    for number in (1, 2600, 2602):
        path.write_text("1,2\n" * number)
        with pytest.raises(DataError, match=rf"a\.tsv has {number} rows, but .*rows\.tsv has 2601 rows"):
            convert()
    path.write_text("1,nan\n" * 2601)
    with pytest.raises(DataError, match=r"a\.tsv:\d+: nan is not finite"):
        convert()
