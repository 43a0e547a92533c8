"""Generated product reviews of several domains: what the demo and the smoke tests train on, offline and without a licence.

A review gives one or two opinions. Each opinion word has a strength between -3 and 3; degree words scale it, negations turn it
round, what follows a ``but`` counts twice, and some words are praise in one domain and blame in another ("small" speaks for a
camera and against a hotel room). The sum is the review's sentiment s. As with real annotators, the more one-sided a review, the
surer its label: a training label is positive with probability 1 / (1 + exp(-s / NOISE)), which makes about one in six wrong.
Validation and test labels are the sign of s, without that noise, as if a few rows had been labelled with care: accuracy then
measures what was learned and not what was rolled.

Single words alone decide about 73% of the test rows; the rest needs negations and domains, which a small model finds out only
slowly from noisy labels. A teacher that has averaged over many of them passes on how sure each label is, and that helps.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from raykd.data import storage

LABELS = ("negative", "positive")
INPUT_SCHEMA = "text:str:1,label:str:1,domain:str:1"
NOISE = 2.0
"""Sentiment at which an annotator is right with probability 0.73; larger is noisier."""
MARGIN = 0.25
"""Reviews whose sentiment is nearer to zero than this are not written: they have no right answer."""
MAX_OPINIONS = 2
BUT_WEIGHT, NEGATION_WEIGHT = 2.0, -0.8
P_DOMAIN, P_NEGATION, P_DEGREE, P_BUT = 0.35, 0.15, 0.2, 0.1
"""Probabilities that an opinion word depends on the domain, is negated, has a degree word; that ``but`` joins two opinions."""

T = TypeVar("T")

ASPECTS = {
    "books": "plot,ending,writing,hero,dialogue,pacing,first chapter,translation,style,story,narrator,cover,villain,prose",
    "cameras": "lens,battery,screen,zoom,flash,grip,menu,sensor,shutter,body,autofocus,case,viewfinder,strap",
    "hotels": "room,bed,breakfast,pool,view,staff,lobby,shower,location,bar,corridor,garden,gym,towel",
    "kitchen": "blade,handle,lid,motor,pan,timer,kettle,mixer,oven,knife,coating,bowl,toaster,plug",
}
PRAISE = {
    3.0: "superb,outstanding,magnificent,flawless,brilliant,stunning,exceptional,marvellous,masterful,perfect",
    2.0: "great,excellent,wonderful,lovely,impressive,delightful,terrific,fantastic,admirable,splendid,charming,beautiful",
    1.0: "good,nice,pleasant,solid,decent,neat,handy,likeable,tidy,agreeable,competent,fair,useful,sound",
}
BLAME = {
    3.0: "awful,terrible,horrible,atrocious,dreadful,disastrous,abysmal,appalling,worthless,hideous",
    2.0: "bad,poor,disappointing,annoying,shoddy,ugly,lousy,miserable,unpleasant,clumsy,tiresome,defective",
    1.0: "bland,mediocre,plain,dull,awkward,dated,forgettable,uneven,limp,fussy,vague,ordinary,weak,meh",
}
BY_DOMAIN = {  # strength in books, cameras, hotels, kitchen
    "small": (0.0, 2.0, -2.0, 1.0), "quiet": (-1.5, 1.0, 2.5, 2.0), "unpredictable": (2.5, -2.0, -2.0, -2.5),
    "hot": (1.5, -2.0, -1.5, 1.5), "cold": (1.0, 0.0, -2.0, -1.0), "heavy": (-1.5, -2.0, 0.0, 1.5),
    "light": (-1.0, 2.0, 1.5, -1.5), "long": (-1.5, 1.0, -1.5, 0.0), "sharp": (2.0, 2.5, -1.0, 2.5),
    "dark": (2.0, -2.5, -2.0, 0.0), "slow": (-2.0, -2.5, -2.0, 1.0), "simple": (-1.5, 2.0, -1.0, 2.0),
    "soft": (-1.0, -2.0, 2.5, -2.0), "loud": (1.0, -1.5, -2.5, -2.0), "thin": (-2.0, 2.0, -2.0, -1.5),
    "strange": (2.0, -1.5, -2.0, -2.0), "modern": (-1.0, 1.5, 2.0, 1.5), "busy": (1.5, -1.5, -2.0, 0.0),
    "wild": (2.5, -2.0, 1.0, -2.5), "bright": (1.0, 2.5, 2.0, -1.0),
}  # fmt: skip
DEGREES = {"slightly": 0.5, "somewhat": 0.6, "fairly": 0.8, "really": 1.3, "very": 1.4, "extremely": 1.8, "utterly": 1.8}
NEGATIONS = ("not", "never", "hardly")
VERBS = ("is", "was", "seemed", "felt", "looked", "turned out", "proved")
OPENERS = "we chose it in spring,a friend told me about it,i read other reviews first,this was a present,here is my opinion"
FILLERS = "it arrived on monday,my sister has one too,i paid the usual price,we used it for a week,it comes from abroad"


@dataclass(frozen=True)
class SyntheticReview:
    """One generated row; ``sentiment`` is the sum that decides its label."""

    text: str
    domain: str
    sentiment: float


def write(folder: str, *, train_rows: int, validation_rows: int, test_rows: int, seed: int) -> tuple[str, str, str]:
    """Write ``train.tsv``, ``validation.tsv`` and ``test.tsv`` (columns text, label, domain; no header); returns their paths.

    The bytes depend on the arguments alone. No text stands in two of the files, or in one of them twice.
    Raises ResourceError when the folder cannot be written.
    """
    dice = random.Random(seed)
    seen: set[str] = set()
    rows = {"train": [_row(review, _annotate(dice, review.sentiment)) for review in _distinct(dice, train_rows, seen)]}
    for name, count in (("validation", validation_rows), ("test", test_rows)):
        rows[name] = [_row(review, review.sentiment > 0) for review in _distinct(dice, count, seen)]
    for name, lines in rows.items():
        storage.write_bytes(storage.join(folder, f"{name}.tsv"), "".join(lines).encode())
    train, validation, test = (storage.join(folder, f"{name}.tsv") for name in rows)
    return train, validation, test


def write_pretraining(path: str, *, rows: int, seed: int, unlike: Sequence[str]) -> None:
    """Write reviews with clean labels, none of which stands in the files ``unlike``: what a large model has seen before."""
    seen = {line.split("\t")[0] for file in unlike for line in storage.read_bytes(file).decode().splitlines()}
    reviews = _distinct(random.Random(seed), rows, seen)
    storage.write_bytes(path, "".join(_row(review, review.sentiment > 0) for review in reviews).encode())


def _row(review: SyntheticReview, positive: bool) -> str:
    return f"{review.text}\t{LABELS[int(positive)]}\t{review.domain}\n"


def _annotate(dice: random.Random, sentiment: float) -> bool:
    return dice.random() < 1 / (1 + math.exp(-sentiment / NOISE))


def _distinct(dice: random.Random, rows: int, seen: set[str]) -> list[SyntheticReview]:
    reviews: list[SyntheticReview] = []
    while len(reviews) < rows:
        review = make_review(dice)
        if review.text not in seen and abs(review.sentiment) > MARGIN:
            seen.add(review.text)
            reviews.append(review)
    return reviews


def make_review(dice: random.Random) -> SyntheticReview:
    """A review of one or two opinions, with a neutral clause here and there."""
    domain = _pick(dice, tuple(ASPECTS))
    words = [_pick(dice, OPENERS.split(","))] if dice.random() < 0.3 else []
    sentiment = 0.0
    for index in range(1 + int(dice.random() * MAX_OPINIONS)):
        clause, strength = _opinion(dice, domain)
        contrast = index > 0 and dice.random() < P_BUT
        words += ["but" if contrast else "and" if words and dice.random() < 0.5 else ".", clause] if words else [clause]
        sentiment += strength * (BUT_WEIGHT if contrast else 1.0)
        if dice.random() < 0.2:
            words += [".", _pick(dice, FILLERS.split(","))]
    return SyntheticReview(text=" ".join(words), domain=domain, sentiment=sentiment)


def _opinion(dice: random.Random, domain: str) -> tuple[str, float]:
    word, strength = _opinion_word(dice, domain)
    words = ["the", _pick(dice, ASPECTS[domain].split(",")), _pick(dice, VERBS)]
    kind = dice.random()
    if kind < P_NEGATION:
        words.append(_pick(dice, NEGATIONS))
        strength *= NEGATION_WEIGHT
    elif kind < P_NEGATION + P_DEGREE:
        degree = _pick(dice, tuple(DEGREES))
        words.append(degree)
        strength *= DEGREES[degree]
    return " ".join([*words, word]), strength


def _opinion_word(dice: random.Random, domain: str) -> tuple[str, float]:
    if dice.random() < P_DOMAIN:
        word = _pick(dice, tuple(BY_DOMAIN))
        return word, BY_DOMAIN[word][tuple(ASPECTS).index(domain)]
    lexicon, sign = (PRAISE, 1.0) if dice.random() < 0.5 else (BLAME, -1.0)
    strength = _pick(dice, tuple(lexicon))
    return _pick(dice, lexicon[strength].split(",")), sign * strength


def _pick(dice: random.Random, items: Sequence[T]) -> T:
    # random() alone is promised to give the same numbers in every Python version
    return items[int(dice.random() * len(items))]
