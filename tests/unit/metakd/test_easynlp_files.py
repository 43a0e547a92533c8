"""EasyNLP's Meta-KD files: written, read back, and weighed as the side tables are."""

from pathlib import Path

import numpy as np
import pytest

from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError
from raykd.metakd.easynlp_files import TextRow, read_file, row_guid, write_embeddings, write_file, write_weights
from raykd.metakd.embeddings import EMBEDDING
from raykd.metakd.prototypes import ScoreKind, prototypes, weigh
from tests.unit.metakd.worlds import DOMAINS, side_of


def text_rows(tmp_path: Path) -> list[TextRow]:
    cells = [line.split("\t") for line in (tmp_path / "rows.tsv").read_text().splitlines()]
    return [TextRow(row_guid(n, text), text, "", label, domain) for n, (text, domain, label) in enumerate(cells)]


@pytest.mark.parametrize("kind", ["paper", "easynlp"])
def test_the_file_of_weights_says_what_the_side_table_says(rows: TokenisedSet, tmp_path: Path, kind: ScoreKind) -> None:
    vectors = np.random.default_rng(1).standard_normal((rows.num_rows, 5)).astype(np.float32)
    side = side_of(rows, tmp_path / "e", EMBEDDING, vectors)
    write_embeddings(text_rows(tmp_path), side, str(tmp_path / "train.embeddings.tsv"))
    header = (tmp_path / "train.embeddings.tsv").read_text().split("\n")[0]
    assert header == "guid\ttext_a\ttext_b\tlabel\tdomain\tembeddings"
    back = [np.array(value.split(), np.float32) for _, _, value in read_file(str(tmp_path / "train.embeddings.tsv"))]
    assert np.array_equal(np.stack(back), vectors), "bit for bit"

    output = tmp_path / "train_with_weights.tsv"
    write_weights(str(tmp_path / "train.embeddings.tsv"), str(output), domains=DOMAINS, kind=kind, alpha=0.6)
    found = prototypes(rows, side, domain="domain", domains=DOMAINS)
    table = weigh(rows, side, found, domain="domain", domains=DOMAINS, out=str(tmp_path / "w"), kind=kind, alpha=0.6)
    expected = table.read_group(0)["weight"].to_numpy()
    read = list(read_file(str(output)))
    np.testing.assert_allclose([float(value) for _, _, value in read], expected, atol=1e-6)
    assert [row for _, row, _ in read] == text_rows(tmp_path)


def test_rows_of_easynlp_itself_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "train.embeddings.tsv"
    path.write_text("guid\ttext_a\ttext_b\tlabel\tdomain\tembeddings\n" + '1\t say "it"\tNone\tpositive\tdvd\t0.5 -1e-3\n')
    where, row, value = next(iter(read_file(str(path))))
    assert (where, row.text_a, row.text_b, value) == (f"{path}:2", ' say "it"', "", "0.5 -1e-3")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (("dvd", "1 2"), ":3: domain 'dvd' is not one of books, kitchen"),
        (("books", "1 2 3"), ":3: an embedding of 3 numbers, where the rows before have 2"),
        (("books", "1 x"), ":3: '1 x' is not a row of numbers"),
        (("books", "1 nan"), ":3: .*not finite"),
        (("books", "1\t2"), ":3: 7 columns"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, second: tuple[str, str], message: str) -> None:
    rows = [(TextRow("1", "a", "", "positive", "books"), "1 2"), (TextRow("2", "b", "", "negative", second[0]), second[1])]
    write_file(rows, str(tmp_path / "e.tsv"), last="embeddings")
    with pytest.raises(DataError, match=message):
        write_weights(str(tmp_path / "e.tsv"), str(tmp_path / "w.tsv"), domains=("books", "kitchen"))


def test_a_guid_is_the_same_in_every_run() -> None:
    assert row_guid(3, "text") == row_guid(3, "text") != row_guid(4, "text")
