"""Raw reviews: parsing, the paper's split, and the traps of the original files."""

from collections import Counter
from pathlib import Path

import pytest

from raykd.errors import DataError
from raykd.metakd.reviews import Review, read_labelled_texts, read_reviews, split_reviews, without_duplicates, write_reviews

PAPER = {
    "train": {"books": 1631, "dvd": 1621, "electronics": 1615, "kitchen": 1613},
    "validation": {"books": 170, "dvd": 194, "electronics": 172, "kitchen": 184},
    "test": {"books": 199, "dvd": 185, "electronics": 213, "kitchen": 203},
}


def write_domain(folder: Path, name: str, positive: bytes, negative: bytes = b"") -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "positive.review").write_bytes(positive)
    (folder / name / "negative.review").write_bytes(negative or review(b"bad"))


def review(text: bytes) -> bytes:
    return b"<review>\n<title>\nx\n</title>\n<review_text>\n" + text + b"\n</review_text>\n</review>\n"


def skeleton() -> list[Review]:
    """1000 positive, then 1000 negative rows of each domain, as the original files have them."""
    domains = ("books", "dvd", "electronics", "kitchen")
    return [
        Review(f"{domain} {sentiment} {number}", domain, sentiment)  # type: ignore[arg-type]  # domain and sentiment by name
        for domain in domains
        for sentiment in ("positive", "negative")
        for number in range(1000)
    ]


def test_the_split_has_the_papers_sizes() -> None:
    parts = split_reviews(skeleton())
    assert {part: dict(Counter(row.domain for row in rows)) for part, rows in parts.items()} == PAPER
    assert Counter(row.sentiment for row in parts["test"]) == {"positive": 400, "negative": 400}
    assert len({row.text for rows in parts.values() for row in rows}) == 8000, "every row in one part"


def test_lines_are_joined_by_a_space_and_lose_nothing(tmp_path: Path) -> None:
    text = b'\tit "broke"\nafter\t one day \r\n\n& <b>twice</b>\x1d\xff end\xc2\x85.'
    write_domain(tmp_path, "kitchen_&_housewares", review(text) + review(b"fine"))
    first, second, bad = read_reviews(str(tmp_path))
    assert first == Review('it "broke" after one day & <b>twice</b> \N{REPLACEMENT CHARACTER} end .', "kitchen", "positive")
    assert (second.text, bad.sentiment) == ("fine", "negative")


def test_a_written_split_has_no_quoting(tmp_path: Path) -> None:
    write_reviews([Review('a "quoted" word', "books", "negative")], str(tmp_path / "out.tsv"), header=True)
    assert (tmp_path / "out.tsv").read_text() == 'review\tdomain\tsentiment\na "quoted" word\tbooks\tnegative\n'


def test_duplicates_leave_before_the_split() -> None:
    rows = [*skeleton(), *(Review(row.text, row.domain, row.sentiment) for row in skeleton()[:50])]
    assert len(without_duplicates(rows)) == 8000
    with pytest.raises(DataError, match="positive and negative"):
        without_duplicates([Review("so so", "dvd", "positive"), Review("so so", "dvd", "negative")])


def test_further_test_rows_have_the_domain_of_their_files_name(tmp_path: Path) -> None:
    (tmp_path / "books_test.tsv").write_text("a\x0bgood\tbook\tpositive\nbad\tnegative\n\n")
    (tmp_path / "kitchen.tsv").write_text("sharp\tpositive\r\n")
    assert read_labelled_texts([str(tmp_path / name) for name in ("books_test.tsv", "kitchen.tsv")]) == [
        Review("a good book", "books", "positive"),
        Review("bad", "books", "negative"),
        Review("sharp", "kitchen", "positive"),
    ]


@pytest.mark.parametrize("line", ["no label", "text\tgood", "\tpositive"])
def test_a_test_row_without_text_or_sentiment_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "dvd_test.tsv"
    path.write_text(f"fine\tpositive\n{line}\n")
    with pytest.raises(DataError, match=r"dvd_test\.tsv:2: a line has a text, a tab and positive or negative"):
        read_labelled_texts([str(path)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<review_text>\ncut", r"positive.review:1: .*never closed"),
        (b"<review_text>\na\n<review_text>\n", "positive.review:3: .*line 1"),
        (b"nothing", "no <review_text>"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    write_domain(tmp_path, "books", content)
    with pytest.raises(DataError, match=message):
        read_reviews(str(tmp_path))


def test_folders_that_are_no_domains_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no domain folders"):
        read_reviews(str(tmp_path))
    write_domain(tmp_path, "dvd", review(b"good"))
    (tmp_path / "dvd" / "negative.review").unlink()
    with pytest.raises(DataError, match=r"positive.review alone"):
        read_reviews(str(tmp_path))


def test_real_reviews(shared_data: Path) -> None:
    rows = read_reviews(str(shared_data / "amazon"))
    parts = split_reviews(rows)
    assert {part: dict(Counter(row.domain for row in kept)) for part, kept in parts.items()} == PAPER
    unique = without_duplicates(rows)
    assert 7800 < len(unique) < 8000
    seen = {part: {row.text for row in kept} for part, kept in split_reviews(unique).items()}
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & (seen["train"] | seen["test"])
    assert all("\t" not in row.text and row.text for row in rows)
