"""Raw Amazon reviews of several domains (Blitzer et al. 2007, the ``sorted_data_acl`` layout) to a split of the paper's sizes.

The files look like XML and are not: bare ``&``, control characters, no root element. A review is what stands between the lines
``<review_text>`` and ``</review_text>``; its lines are joined by a space. (EasyNLP's script joined them by nothing, dropped the
last character of lines that begin with a tab, and quoted texts with a ``"`` in them: its rows are not these.)
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from raykd.data import storage
from raykd.errors import DataError
from raykd.stage_names import Split

Sentiment = Literal["positive", "negative"]
SENTIMENTS: tuple[Sentiment, ...] = ("positive", "negative")
SPLIT_SEED = 11111
"""The seed of the paper's split."""
_FOLDS = 10


@dataclass(frozen=True)
class Review:
    """One review."""

    text: str
    """Without line ends, tabs and control characters; words apart by single spaces."""
    domain: str
    sentiment: Sentiment


def read_reviews(folder: str) -> list[Review]:
    """All reviews under ``folder/<domain>[_more]/{positive,negative}.review``: domains by name, positives first.

    Raises DataError: no such files, a text that is not closed, a file without reviews, a folder with one class only.
    """
    reviews: list[Review] = []
    for path in storage.list_dir(folder):
        name = path.rstrip("/").rsplit("/", 1)[-1]
        there = [one for one in SENTIMENTS if storage.exists(storage.join(path, f"{one}.review"))]
        if not there:
            continue
        if len(there) < len(SENTIMENTS):
            raise DataError(f"{path} has {there[0]}.review alone; a domain needs positive.review and negative.review")
        for sentiment in SENTIMENTS:
            texts = list(_texts(storage.join(path, f"{sentiment}.review")))
            reviews += [Review(text, name.split("_")[0], sentiment) for text in texts]
    if not reviews:
        raise DataError(f"{folder} has no domain folders with positive.review and negative.review; give sorted_data_acl's path")
    return reviews


def read_labelled_texts(paths: Sequence[str]) -> list[Review]:
    """Reviews of files with a text and a sentiment a line; the domain is a file's name up to its first ``_`` or ``.``.

    Raises DataError with file and line for another line.
    """
    reviews: list[Review] = []
    for path in paths:
        domain = re.split(r"[_.]", path.rsplit("/", 1)[-1])[0]
        lines = storage.read_bytes(path).decode("utf-8", errors="replace").split("\n")
        for number, line in enumerate(lines, start=1):
            text, _, label = line.rpartition("\t")
            sentiment = next((one for one in SENTIMENTS if one == label.strip()), None)
            if sentiment is not None and text:
                reviews.append(Review(_clean(text), domain, sentiment))
            elif line.strip():
                raise DataError(f"{path}:{number}: a line has a text, a tab and {' or '.join(SENTIMENTS)}; given {line[:60]!r}")
    return reviews


def _texts(path: str) -> Iterator[str]:
    """The review texts of a file. Bytes that are not UTF-8 become U+FFFD: a few stray ones stand in the original files."""
    lines: list[str] | None = None
    opened = found = 0
    for number, line in enumerate(storage.read_bytes(path).decode("utf-8", errors="replace").split("\n"), start=1):
        tag = line.strip()
        if tag == "<review_text>":
            if lines is not None:
                raise DataError(f"{path}:{number}: <review_text> inside the one of line {opened}; the file is damaged")
            lines, opened = [], number
        elif tag == "</review_text>" and lines is not None:
            yield _clean(" ".join(lines))
            lines, found = None, found + 1
        elif lines is not None:
            lines.append(line)
    if lines is not None:
        raise DataError(f"{path}:{opened}: <review_text> is never closed; the file is cut off, copy it again")
    if not found:
        raise DataError(f"{path} has no <review_text>; give a file of the sorted_data_acl layout")


def _clean(text: str) -> str:
    """Control characters and every kind of space as one space: no reader can take them for the end of a row or a cell."""
    return " ".join("".join(" " if unicodedata.category(one) == "Cc" else one for one in text).split())


def without_duplicates(reviews: Sequence[Review]) -> list[Review]:
    """The first review of each text, so that no text occurs in two splits.

    Raises DataError when one text has two sentiments: neither can be called right.
    """
    kept: dict[str, Review] = {}
    for review in reviews:
        other = kept.setdefault(review.text, review)
        if other.sentiment != review.sentiment:
            raise DataError(f"the text {review.text[:60]!r} is {other.sentiment} and {review.sentiment}; remove one of them")
    return list(kept.values())


def split_reviews(reviews: Sequence[Review], *, seed: int = SPLIT_SEED) -> dict[Split, list[Review]]:
    """The paper's split: a shuffle, a tenth for test, a tenth of the rest for validation; stratified by sentiment, not domain.

    Pan et al. 2021, arXiv:2012.01266; its sizes (6480, 720, 800 of 8000) and those per domain come out with the default seed.
    """
    import numpy as np
    from sklearn.model_selection import StratifiedKFold

    # pandas' DataFrame.sample(frac=1), which made the paper's split, draws this way
    order = np.random.RandomState(seed).choice(len(reviews), size=len(reviews), replace=False)
    shuffled = [reviews[index] for index in order]

    def first_fold(rows: Sequence[Review]) -> tuple[list[Review], list[Review]]:
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
        rest, fold = next(folds.split(rows, [row.sentiment for row in rows]))
        return [rows[index] for index in rest], [rows[index] for index in fold]

    rest, test = first_fold(shuffled)
    train, validation = first_fold(rest)
    return {"train": train, "validation": validation, "test": test}


def write_reviews(reviews: Sequence[Review], path: str, *, header: bool = False) -> None:
    """Write ``review<TAB>domain<TAB>sentiment`` lines, without quoting; the header is EasyNLP's."""
    first = ["review\tdomain\tsentiment\n"] if header else []
    lines = (f"{review.text}\t{review.domain}\t{review.sentiment}\n" for review in reviews)
    with storage.open_output(path) as stream:
        for line in (*first, *lines):
            stream.write(line.encode())
