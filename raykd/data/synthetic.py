"""Synthetic product reviews of several domains: training data of the demo and the smoke tests, offline and without a licence.

A review has one or two opinions. Each opinion word has a strength between -3 and 3; degree words scale it, negations invert
it, the opinion after ``but`` counts twice, and some words are positive in one domain and negative in another ("small" camera,
"small" hotel room). The sum is the review's sentiment s. A training label is positive with probability
1 / (1 + exp(-s / NOISE)), which models annotators and makes about one label in six wrong. Validation and test labels are the
sign of s without that noise, so accuracy does not measure label noise.

Single words alone decide about 73% of the test rows; the rest needs negations and domains, which a small model learns slowly
from noisy labels. The teacher's probabilities average over many noisy labels and give the student the certainty of each label.
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
"""Smallest absolute sentiment of a review: reviews nearer to zero have no clear label and are not written."""
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

    The bytes depend on the arguments alone. No text occurs twice, in one file or in two.
    Raises ResourceError when the folder cannot be written.
    """
    rng = random.Random(seed)
    seen: set[str] = set()
    rows = {"train": [_row(review, _annotate(rng, review.sentiment)) for review in _distinct(rng, train_rows, seen)]}
    for name, count in (("validation", validation_rows), ("test", test_rows)):
        rows[name] = [_row(review, review.sentiment > 0) for review in _distinct(rng, count, seen)]
    for name, lines in rows.items():
        storage.write_bytes(storage.join(folder, f"{name}.tsv"), "".join(lines).encode())
    train, validation, test = (storage.join(folder, f"{name}.tsv") for name in rows)
    return train, validation, test


def write_pretraining(path: str, *, rows: int, seed: int, unlike: Sequence[str]) -> None:
    """Write pretraining reviews with noise-free labels; none of their texts occurs in the files ``unlike``."""
    seen = {line.split("\t")[0] for file in unlike for line in storage.read_bytes(file).decode().splitlines()}
    reviews = _distinct(random.Random(seed), rows, seen)
    storage.write_bytes(path, "".join(_row(review, review.sentiment > 0) for review in reviews).encode())


def _row(review: SyntheticReview, positive: bool) -> str:
    return f"{review.text}\t{LABELS[int(positive)]}\t{review.domain}\n"


def _annotate(rng: random.Random, sentiment: float) -> bool:
    return rng.random() < 1 / (1 + math.exp(-sentiment / NOISE))


def _distinct(rng: random.Random, rows: int, seen: set[str]) -> list[SyntheticReview]:
    reviews: list[SyntheticReview] = []
    while len(reviews) < rows:
        review = make_review(rng)
        if review.text not in seen and abs(review.sentiment) > MARGIN:
            seen.add(review.text)
            reviews.append(review)
    return reviews


def make_review(rng: random.Random) -> SyntheticReview:
    """A review of one or two opinions, with occasional neutral clauses."""
    domain = _pick(rng, tuple(ASPECTS))
    words = [_pick(rng, OPENERS.split(","))] if rng.random() < 0.3 else []
    sentiment = 0.0
    for index in range(1 + int(rng.random() * MAX_OPINIONS)):
        clause, strength = _opinion(rng, domain)
        contrast = index > 0 and rng.random() < P_BUT
        words += ["but" if contrast else "and" if words and rng.random() < 0.5 else ".", clause] if words else [clause]
        sentiment += strength * (BUT_WEIGHT if contrast else 1.0)
        if rng.random() < 0.2:
            words += [".", _pick(rng, FILLERS.split(","))]
    return SyntheticReview(text=" ".join(words), domain=domain, sentiment=sentiment)


def _opinion(rng: random.Random, domain: str) -> tuple[str, float]:
    word, strength = _opinion_word(rng, domain)
    words = ["the", _pick(rng, ASPECTS[domain].split(",")), _pick(rng, VERBS)]
    kind = rng.random()
    if kind < P_NEGATION:
        words.append(_pick(rng, NEGATIONS))
        strength *= NEGATION_WEIGHT
    elif kind < P_NEGATION + P_DEGREE:
        degree = _pick(rng, tuple(DEGREES))
        words.append(degree)
        strength *= DEGREES[degree]
    return " ".join([*words, word]), strength


def _opinion_word(rng: random.Random, domain: str) -> tuple[str, float]:
    if rng.random() < P_DOMAIN:
        word = _pick(rng, tuple(BY_DOMAIN))
        return word, BY_DOMAIN[word][tuple(ASPECTS).index(domain)]
    lexicon, sign = (PRAISE, 1.0) if rng.random() < 0.5 else (BLAME, -1.0)
    strength = _pick(rng, tuple(lexicon))
    return _pick(rng, lexicon[strength].split(",")), sign * strength


def _pick(rng: random.Random, items: Sequence[T]) -> T:
    # only random() is guaranteed to give the same numbers in every Python version
    return items[int(rng.random() * len(items))]
