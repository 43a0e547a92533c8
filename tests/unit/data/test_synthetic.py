"""The generated reviews: the same bytes every time, labels that mean something, and noise where it is said to be."""

import random
from collections import Counter
from pathlib import Path

import pytest

from raykd.data import synthetic
from tests.unit.tsv_rows import read_rows


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[str, ...]:
    return synthetic.write(str(tmp_path_factory.mktemp("reviews")), train_rows=2000, validation_rows=300, test_rows=500, seed=3)


def test_bytes_depend_on_the_arguments_alone(tmp_path, files):
    random.seed(5)
    again = synthetic.write(str(tmp_path / "again"), train_rows=2000, validation_rows=300, test_rows=500, seed=3)
    other = synthetic.write(str(tmp_path / "other"), train_rows=2000, validation_rows=300, test_rows=500, seed=4)
    for first, second, third in zip(files, again, other, strict=True):
        assert Path(first).read_bytes() == Path(second).read_bytes()
        assert Path(first).read_bytes() != Path(third).read_bytes()


def test_rows_have_the_columns_of_the_schema(files):
    for path, count in zip(files, (2000, 300, 500), strict=True):
        rows = read_rows(path)
        assert len(rows) == count
        assert {len(row) for row in rows} == {len(synthetic.INPUT_SCHEMA.split(","))}
        labels, domains = Counter(row[1] for row in rows), Counter(row[2] for row in rows)
        assert set(labels) == set(synthetic.LABELS)
        assert min(labels.values()) > 0.4 * count
        assert set(domains) == set(synthetic.ASPECTS)
        assert min(domains.values()) > 0.2 * count


def test_no_text_comes_twice(files):
    texts = [row[0] for path in files for row in read_rows(path)]
    assert len(set(texts)) == len(texts)


def test_test_labels_are_clean_and_training_labels_are_not(files, monkeypatch, tmp_path):
    monkeypatch.setattr(synthetic, "_annotate", lambda rng, sentiment: rng.random() >= 0 and sentiment > 0)
    clean = synthetic.write(str(tmp_path), train_rows=2000, validation_rows=300, test_rows=500, seed=3)
    for path, expected in zip(files[1:], clean[1:], strict=True):
        assert Path(path).read_bytes() == Path(expected).read_bytes()
    wrong = sum(noisy[1] != right[1] for noisy, right in zip(read_rows(files[0]), read_rows(clean[0]), strict=True))
    assert 0.2 < wrong / 2000 < 0.3


def test_meaning_depends_on_domain_negation_and_contrast():
    class Script:
        """Dice that fall as they are told."""

        def __init__(self, *throws: float) -> None:
            self.throws = list(throws)

        def random(self) -> float:
            return self.throws.pop(0)

    # domain word?, which word, aspect, verb, kind of clause (0: negation, 0.99: plain), which negation
    small = [0.0, 0.0, 0.0, 0.0, 0.99]
    assert synthetic._opinion(Script(*small), "cameras") == ("the lens is small", 2.0)
    assert synthetic._opinion(Script(*small), "hotels") == ("the room is small", -2.0)
    superb = [0.99, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert synthetic._opinion(Script(*superb, 0.99), "books") == ("the plot is superb", 3.0)
    text, strength = synthetic._opinion(Script(*superb, 0.0, 0.0), "books")
    assert text == "the plot is not superb"
    assert strength == pytest.approx(-2.4)


def test_the_teacher_has_read_none_of_the_rows(tmp_path):
    files = synthetic.write(str(tmp_path), train_rows=3000, validation_rows=500, test_rows=500, seed=3)
    synthetic.write_pretraining(str(tmp_path / "pretrain.tsv"), rows=3000, seed=3, unlike=files)  # the same random stream
    before = {row[0] for row in read_rows(str(tmp_path / "pretrain.tsv"))}
    assert len(before) == 3000
    assert not before & {row[0] for file in files for row in read_rows(file)}
