"""Embeddings, prototypes, weights: against a plain computation over all rows at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from raykd.data.side_tables import SideTable, logits_numpy, restrict
from raykd.data.splits import HashRange
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ConfigError, DataError
from raykd.metakd import prototypes as module
from raykd.metakd.domain_files import DomainColumns, check_domain_names, split_by_domain
from raykd.metakd.embeddings import EMBEDDING, Embedder
from raykd.metakd.prototypes import Prototypes, domain_ids, prototypes, weigh
from raykd.models import load_classifier, load_tokenizer
from raykd.predict import ScoreJob, score_locally
from tests.unit.metakd.worlds import DOMAINS, LABELS, SCHEMA, prepared_rows, side_of, write_rows


def columns(rows: TokenisedSet) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]  # numbers of any type
    table = pa.concat_tables([rows.read_group(group) for group in range(len(rows.group_rows))])
    return domain_ids(table["domain"], DOMAINS), table["label"].to_numpy()


def cosine(left: np.ndarray, right: np.ndarray) -> float:  # type: ignore[type-arg]  # numbers of any type
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


def column(table: SideTable, name: str) -> np.ndarray:  # type: ignore[type-arg]  # numbers of any type
    return np.concatenate([table.read_group(group)[name].to_numpy() for group in range(len(table.group_rows))])


def test_embeddings_are_means_over_the_texts_tokens_alone(rows: TokenisedSet, model: str, tmp_path: Path) -> None:
    table = score_locally([ScoreJob(model, rows.path, str(tmp_path / "e"))], scorer=Embedder)[0]
    ours = logits_numpy(table.read_group(0)[EMBEDDING])
    encoder, tokenizer = load_classifier(model, labels=LABELS).base_model.eval(), load_tokenizer(model)
    for line, expected in zip((tmp_path / "rows.tsv").read_text().splitlines()[:5], ours[:5], strict=True):
        with torch.no_grad():  # one row alone: no padding, so the mean without [CLS] and [SEP] is plain
            states = encoder(**tokenizer(line.split("\t")[0], return_tensors="pt")).last_hidden_state[0, 1:-1].mean(0)
        np.testing.assert_allclose(expected, states.numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", ["paper", "easynlp"])
def test_weights_are_the_formulas(rows: TokenisedSet, tmp_path: Path, kind: module.ScoreKind) -> None:
    vectors = np.random.default_rng(1).standard_normal((rows.num_rows, 5)).astype(np.float32) + 1
    side = side_of(rows, tmp_path / "e", EMBEDDING, vectors)
    found = prototypes(rows, side, domain="domain", domains=DOMAINS)
    table = weigh(rows, side, found, domain="domain", domains=DOMAINS, out=str(tmp_path / "w"), kind=kind, alpha=0.7)
    domains, labels = columns(rows)
    for index, weight in enumerate(column(table, "weight")):
        own, others = domains[index], [k for k in range(3) if k != domains[index]]
        if kind == "paper":
            means = [vectors[(domains == k) & (labels == labels[index])].mean(0) for k in range(3)]
            expected = 0.7 * cosine(means[own], vectors[index])
            expected += 0.15 * sum(cosine(means[k], vectors[index]) for k in others)
        else:
            centroids = [vectors[domains == k].mean(0) for k in range(3)]
            other = np.mean([centroids[k] for k in others], axis=0)
            expected = (cosine(centroids[own], vectors[index]) + cosine(other, vectors[index])) / 2
        assert weight == pytest.approx(expected, abs=1e-5)
    assert column(table, "domain_id").tolist() == domains.tolist()


def test_many_row_groups_give_the_sums_of_one(rows: TokenisedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(2).standard_normal((rows.num_rows, 4)).astype(np.float32)
    side = side_of(rows, tmp_path / "e", EMBEDDING, vectors)
    found = prototypes(rows, side, domain="domain", domains=DOMAINS)
    assert found.counts.sum() == rows.num_rows
    doubled = found + found
    np.testing.assert_allclose(doubled.means, found.means)
    np.testing.assert_allclose(found.sums.sum((0, 1)), vectors.sum(0), rtol=1e-5)


def test_embeddings_of_other_rows_are_refused(rows: TokenisedSet, tmp_path: Path, model: str) -> None:
    other = prepared_rows([str(write_rows(tmp_path / "other.tsv", 60, seed=9))], model, tmp_path / "cache")
    side = side_of(other, tmp_path / "e", EMBEDDING, np.ones((60, 4), np.float32))
    with pytest.raises(DataError, match="made for other rows"):
        prototypes(rows, side, domain="domain", domains=DOMAINS)


def test_domains_that_do_not_fit_are_refused(rows: TokenisedSet, tmp_path: Path) -> None:
    side = side_of(rows, tmp_path / "e", EMBEDDING, np.ones((rows.num_rows, 4), np.float32))
    with pytest.raises(DataError, match="'kitchen' of a row is not one of books, dvd"):
        prototypes(rows, side, domain="domain", domains=("books", "dvd"))
    with pytest.raises(DataError, match="'toys' has no training rows"):
        prototypes(rows, side, domain="domain", domains=(*DOMAINS, "toys"))
    counts = np.array([[3, 4], [7, 0]])
    with pytest.raises(DataError, match=r"'dvd' lacks a class: .*'negative': 7, 'positive': 0"):
        Prototypes(np.zeros((2, 2, 1)), counts).check(("books", "dvd"), LABELS)


def test_rows_are_split_by_domain_and_tables_follow(tmp_path: Path, model: str) -> None:
    path = write_rows(tmp_path / "all.tsv", 61, seed=3)
    named = DomainColumns(SCHEMA, "text", None, "label", "domain")

    def split(source: Path, domains: Sequence[str] = DOMAINS, **settings: Any) -> dict[str, str]:
        paths = {name: str(tmp_path / f"split-{len(domains)}" / f"{name}.tsv") for name in domains}
        split_by_domain([str(source)], named, paths, written=named, labels=LABELS, **settings)
        return paths

    files = split(path)
    lines = [line for file in files.values() for line in Path(file).read_text().splitlines()]
    assert sorted(lines) == sorted(path.read_text().splitlines())

    whole = prepared_rows(list(files.values()), model, tmp_path / "cache")
    vectors = np.arange(whole.num_rows, dtype=np.float32)[:, None]
    side = side_of(whole, tmp_path / "all", "logits", vectors)
    part = prepared_rows([files["dvd"]], model, tmp_path / "cache")
    table = restrict(side, whole, part, out=str(tmp_path / "dvd"))
    table.check_fits(part)
    domains, _ = columns(whole)
    assert logits_numpy(table.read_group(0)["logits"])[:, 0].tolist() == vectors[domains == 1, 0].tolist()
    other = prepared_rows([str(path)], model, tmp_path / "cache")
    with pytest.raises(DataError, match=r"parts cover 0 of \d+ row groups"):
        restrict(side, whole, other, out=str(tmp_path / "no"))
    half = prepared_rows([files["dvd"]], model, tmp_path / "cache", keep=HashRange(0, 0.5))
    with pytest.raises(DataError, match="is not among the rows of the table"):
        restrict(side, whole, half, out=str(tmp_path / "no"))

    with pytest.raises(DataError, match=r"all.tsv:3: domain 'kitchen' is not one of books, dvd"):
        split(path, ("books", "dvd"))
    broken = tmp_path / "broken.tsv"
    broken.write_text(path.read_text().replace("\t", "\tone more\t", 1))
    with pytest.raises(DataError, match=r"broken.tsv:1: \d columns where input_schema has"):
        split(broken)
    with pytest.raises(DataError, match=r"all.tsv:1: data.skip_header = true, but the first line is a row"):
        split(path, skip_header=True)
    with pytest.raises(DataError, match="'toys' has no rows"):
        split(path, (*DOMAINS, "toys"))
    with pytest.raises(ConfigError, match="at least two"):
        check_domain_names(["books"])
