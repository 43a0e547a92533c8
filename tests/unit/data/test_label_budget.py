"""Rows that keep their label: exactly as many as asked for, in every class its share, the same under every tokenizer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.data.label_budget import choose_rows, select_labelled
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError
from raykd.task_kinds import task_kind

WORDS = ("good", "bad", "film", "book", "a", "b", "c")
TEXTS = [f"{one} {two} {three}" for one in WORDS for two in WORDS for three in WORDS]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=80), st.floats(0, 1), st.booleans())
def test_every_stratum_has_its_share(rows: list[tuple[int, int]], share: float, every_stratum: bool) -> None:
    _, strata = np.unique([stratum for stratum, _ in rows], return_inverse=True)
    keys, counts = np.array([key for _, key in rows], np.uint64), np.bincount(strata)
    budget = max(round(share * len(rows)), len(counts))
    chosen = choose_rows(keys, strata, budget, every_stratum=every_stratum)
    assert len(set(chosen.tolist())) == budget
    quotas = np.bincount(strata[chosen], minlength=len(counts))
    assert (quotas <= counts).all()
    assert not every_stratum or quotas.min() >= 1
    rare = int((budget * counts < len(rows)).sum()) if every_stratum else 0
    assert np.abs(quotas - budget * counts / len(rows)).max() < 1 + rare
    for stratum in range(len(counts)):
        own = np.flatnonzero(strata == stratum)
        smallest = own[np.argsort(keys[own], kind="stable")][: quotas[stratum]]
        assert chosen[strata[chosen] == stratum].tolist() == sorted(smallest)


def rows_of(prepared: TokenisedSet) -> list[tuple[int, int]]:
    tables = [prepared.read_group(group, ["shard", "row"]) for group in range(len(prepared.group_rows))]
    return [pair for table in tables for pair in zip(*(table[name].to_pylist() for name in ("shard", "row")), strict=True)]


def test_the_others_are_all_other_rows(
    prepare_rows: Callable[..., TokenisedSet], spec: PrepareSpec, make_tokenizer: Callable[..., str], tmp_path: Path
) -> None:
    content = "".join(f"{text}\t{'pos' if index % 4 else 'neg'}\n" for index, text in enumerate(TEXTS))
    whole, cache = prepare_rows(content), str(tmp_path / "cache")
    selection = select_labelled(whole, 40, cache)
    chosen = prepare(replace(spec, selection=selection), cache)
    unlabelled = replace(spec, label=None, codec=None, selection=replace(selection, others=True))
    others = prepare(unlabelled, cache)
    assert chosen.num_rows == 40
    assert np.bincount(chosen.read_group(0)["label"].to_numpy()).tolist() == [10, 30]
    assert not set(rows_of(chosen)) & set(rows_of(others))
    assert sorted(rows_of(chosen) + rows_of(others)) == rows_of(whole)
    assert "label" not in others.column_names
    assert len({whole.fingerprint, chosen.fingerprint, others.fingerprint}) == 3
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS[::-1])
    under_another = prepare(replace(spec, tokenizer=make_tokenizer("other", words=words), selection=selection), cache)
    assert rows_of(under_another) == rows_of(chosen)
    assert under_another.rows_fingerprint == chosen.rows_fingerprint


def test_a_larger_budget_adds_rows(prepare_rows: Callable[..., TokenisedSet], spec: PrepareSpec, tmp_path: Path) -> None:
    whole = prepare_rows("".join(f"{text}\t{'pos' if index % 4 else 'neg'}\n" for index, text in enumerate(TEXTS)))
    small, large = (
        set(rows_of(prepare(replace(spec, selection=select_labelled(whole, budget, str(tmp_path))), str(tmp_path / "cache"))))
        for budget in (8, 40)
    )
    assert small < large


@pytest.mark.parametrize(("kind", "cells"), [("multi_label", ["neg", "pos", "neg,pos", ""]), ("regression", ["0.5", "2"])])
def test_other_tasks_have_a_budget_too(
    kind: str, cells: list[str], prepare_rows: Callable[..., TokenisedSet], tmp_path: Path
) -> None:
    content = "".join(f"{text}\t{cells[index % len(cells)]}\n" for index, text in enumerate(TEXTS))
    changes = {"codec": task_kind(kind).label_codec(("neg", "pos"))}
    whole = prepare_rows(content, **changes)
    chosen = prepare_rows(content, **changes, selection=select_labelled(whole, 40, str(tmp_path)))
    assert chosen.num_rows == 40
    if kind == "multi_label":
        _, counts = np.unique(np.array(chosen.read_group(0)["label"].to_pylist()), axis=0, return_counts=True)
        assert counts.tolist() == [10] * 4


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (5, "label_budget = 5, but data.train has 4 rows"),
        (1, "label_budget = 1 is smaller than the 2 classes"),
    ],
)
def test_a_budget_that_the_rows_cannot_meet(
    budget: int, message: str, prepare_rows: Callable[..., TokenisedSet], tmp_path: Path
) -> None:
    whole = prepare_rows("good\tpos\nbad\tneg\nfilm\tpos\nbook\tneg\n")
    with pytest.raises(DataError, match=message):
        select_labelled(whole, budget, str(tmp_path))
    assert select_labelled(whole, 4, str(tmp_path)).rows_by_shard() == {0: frozenset(range(4))}
