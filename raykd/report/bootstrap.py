"""Comparison of two systems on the same rows: a paired bootstrap over rows and training seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raykd.errors import DataError
from raykd.metrics.arrays import Floats
from raykd.metrics.class_counts import Statistic, accuracy
from raykd.report.record import Record

INTERVAL = 0.95
REPLICATES = 10_000
FEWEST_DIFFERING_ROWS = 6
"""Fewest rows on which two systems differ for a verdict. Five that all favour one may be chance by the exact sign test (p is
2 · 2⁻⁵ = 0.06); the percentile interval of a bootstrap leaves zero out from four on."""
_CELLS = 2_000_000  # numbers held at once by one chunk of replicates: 16 MB an array
_BITS = 62


class Verdict(Record):
    """A difference between two systems, and whether the interval around it leaves zero out."""

    verdict: Literal["better", "worse", "not separable"]
    """better or worse when the 95% interval lies on one side of zero, and enough rows differ."""
    difference: float
    """Candidate minus reference: difference of the means over seeds, on the rows as they are."""
    low: float
    """Lower end of the 95% interval."""
    high: float
    """Upper end of the 95% interval."""
    rows: int
    """Rows both were read on."""
    candidate_seeds: int
    """Trainings of the candidate."""
    reference_seeds: int
    """Trainings of the reference."""
    differing_rows: int | None = None
    """Rows on which not all trainings of both systems agree; None in reports of earlier versions."""

    @property
    def wording(self) -> str:
        """The verdict, with the reason where the interval leaves zero out and too few rows differ."""
        if self.verdict != "not separable" or self.low <= 0 <= self.high:
            return self.verdict
        return f"not separable, as only {self.differing_rows} row{'s differ' if self.differing_rows != 1 else ' differs'}"

    def reversed(self) -> "Verdict":
        """The verdict on a metric where smaller is better."""
        other = {"better": "worse", "worse": "better"}
        return self.model_copy(update={"verdict": other.get(self.verdict, self.verdict)})


def paired_bootstrap(
    candidate: ArrayLike, reference: ArrayLike, *, replicates: int = REPLICATES, seed: int = 0, paired_seeds: bool = False
) -> Verdict:
    """Difference in accuracy of two systems, given which rows they have right: ``[S_a, N]`` and ``[S_b, N]``.

    See :func:`compare_predictions`, of which this is the case of one class.
    """
    right_a, right_b = (np.atleast_2d(np.asarray(right)).astype(np.int64) for right in (candidate, reference))
    everywhere = np.ones(right_a.shape[1], dtype=np.int64)
    return compare_predictions(
        everywhere, right_a, right_b, statistic=accuracy, replicates=replicates, seed=seed, paired_seeds=paired_seeds
    )


def compare_predictions(
    labels: NDArray[np.integer[Any]],
    candidate: NDArray[np.integer[Any]],
    reference: NDArray[np.integer[Any]],
    *,
    statistic: Statistic,
    classes: int | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    paired_seeds: bool = False,
) -> Verdict:
    """Difference in ``statistic`` of predicted classes ``[S_a, N]`` and ``[S_b, N]`` on ``labels`` ``[N]``, with its interval.

    Percentile bootstrap (Efron & Tibshirani 1993, "An Introduction to the Bootstrap" §13.3) with rows drawn jointly for both
    systems (the paired test of Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation"). What a draw
    of seeds changes, on the rows as they are, is added; the seeds of each system are drawn independently unless
    ``paired_seeds``. Drawing both at once would count what a row does to a seed three times (Owen 2007, "The pigeonhole
    bootstrap"); adding counts it twice, so the interval still errs to the wide side.

    Seeds are few, for which the plain bootstrap is too sure: of S seeds S - 1 are drawn, which makes the variance of their
    mean unbiased (Rao & Wu 1988, JASA 83:231-241), and what the draw changes is widened from normal to Student's t
    (Hesterberg 2015, Am. Stat. 69:371-386). One seed cannot be resampled: the interval then covers the rows only.

    Rows on which labels and all predictions agree are exchangeable, so counts of the distinct patterns are drawn instead of
    a million rows. ``classes``: number of classes, where that is not the highest id plus one; a metric that averages over
    classes counts those without a row too. Raises DataError when the shapes do not fit.
    """
    stratum = _stratum(labels, candidate, reference, statistic, classes=classes, paired_seeds=paired_seeds)
    return _bootstrap([stratum], replicates=replicates, seed=seed, paired_seeds=paired_seeds)


def stratified_bootstrap(
    candidate: Mapping[str, ArrayLike], reference: Mapping[str, ArrayLike], *, replicates: int = REPLICATES, seed: int = 0
) -> Verdict:
    """Difference of two systems in the mean of their domains' accuracies, given which rows of each domain they have right.

    ``[S_a, N_d]`` and ``[S_b, N_d]`` by domain. Rows are drawn within each domain and the domains are averaged, so a domain
    counts alike whatever its number of rows (stratified bootstrap, Davison & Hinkley 1997, "Bootstrap Methods and their
    Application" §3.2). A seed's value is its mean over domains. With one domain this is :func:`paired_bootstrap`.

    Raises DataError when the shapes do not fit, or the domains of the two systems differ.
    """
    if not candidate or set(candidate) != set(reference):
        raise DataError(f"two systems are compared on the same domains; given {sorted(candidate)} and {sorted(reference)}")
    strata = []
    for domain in candidate:
        right = [np.atleast_2d(np.asarray(system[domain])).astype(np.int64) for system in (candidate, reference)]
        everywhere = np.ones(right[0].shape[1], dtype=np.int64)
        strata.append(_stratum(everywhere, right[0], right[1], accuracy, paired_seeds=False))
    if len({(one.seeds_a, one.seeds_b) for one in strata}) > 1:
        raise DataError("a system has as many seeds in every domain")
    return _bootstrap(strata, replicates=replicates, seed=seed, paired_seeds=False)


def compare_moments(
    candidate: Sequence[Floats],
    reference: Sequence[Floats],
    *,
    statistic: Callable[[Floats], Floats],
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Verdict:
    """Difference in a ``statistic`` of sums over the rows, such as a correlation, with its interval.

    ``candidate`` and ``reference`` hold for each seed what every row adds to the sums, ``[N, K]``. The bootstrap is that of
    :func:`compare_predictions`: rows are drawn jointly, and the metric is computed again on every draw. Raises DataError when
    the shapes do not fit.
    """
    tables = [*candidate, *reference]
    shapes = sorted({table.shape for table in tables})
    if not candidate or not reference or len(shapes) > 1 or 0 in shapes[0]:
        raise DataError(f"two systems are compared on the same rows, a row and a seed at least; given {shapes}")
    differing = np.any([(table != tables[0]).any(axis=1) for table in tables], axis=0)
    stratum = _Stratum(np.ones(shapes[0][0], np.int64), tables, len(candidate), int(differing.sum()), statistic)
    return _bootstrap([stratum], replicates=replicates, seed=seed, paired_seeds=False)


@dataclass(frozen=True)
class _Stratum:
    """The rows of one domain, exchangeable ones together, and what each adds to the sums of a metric."""

    rows: NDArray[np.int64]
    """Rows of each pattern, ``[P]``."""
    tables: Sequence[Any]
    """By seed, the candidate's first: ``[P, K]``, dense or sparse, from pattern weights to sums."""
    seeds_a: int
    differing: int
    """Rows on which not all trainings of both systems agree."""
    statistic: Callable[[Floats], Floats]
    """From sums ``[..., K]`` to one number each."""

    @property
    def seeds_b(self) -> int:
        """Seeds of the reference."""
        return len(self.tables) - self.seeds_a

    def observe(self) -> Floats:
        """The statistic of every seed on the rows as they are, ``[1, S_a + S_b]``."""
        return self._measure(self.rows[None].astype(np.float64))

    def resample(self, rng: np.random.Generator, replicates: int) -> Floats:
        """The statistic of every seed on rows drawn with replacement, ``[replicates, S_a + S_b]``."""
        total = self.rows.sum()
        return self._measure(rng.multinomial(total, self.rows / total, size=replicates).astype(np.float64))

    def _measure(self, weights: Floats) -> Floats:
        return np.stack([self.statistic(weights @ table) for table in self.tables], axis=1)


def _stratum(
    labels: NDArray[np.integer[Any]],
    candidate: NDArray[np.integer[Any]],
    reference: NDArray[np.integer[Any]],
    statistic: Statistic,
    *,
    classes: int | None = None,
    paired_seeds: bool,
) -> _Stratum:
    _check(labels, candidate, reference, paired_seeds)
    patterns, rows = _patterns(np.vstack([labels[None], candidate, reference]))
    width = int(patterns.max()) + 1 if classes is None else classes
    tables = [_class_table(patterns[0], predicted, width) for predicted in patterns[1:]]
    differing = int(rows[(patterns[2:] != patterns[1]).any(axis=0)].sum())
    return _Stratum(rows, tables, len(candidate), differing, lambda sums: statistic(sums.reshape(-1, 3, width)))


def _bootstrap(strata: Sequence[_Stratum], *, replicates: int, seed: int, paired_seeds: bool) -> Verdict:
    """The verdict on the mean of the strata's statistics."""
    rng, seeds_a = np.random.default_rng(seed), strata[0].seeds_a
    observed = np.mean([one.observe() for one in strata], axis=0)
    drawn = _seed_effects(rng, observed[0, :seeds_a], observed[0, seeds_a:], replicates, paired=paired_seeds)
    chunk = max(1, _CELLS // max(max(len(one.rows), one.tables[0].shape[1]) for one in strata))
    for start in range(0, replicates, chunk):
        part = drawn[start : start + chunk]
        part += _difference(np.mean([one.resample(rng, len(part)) for one in strata], axis=0), seeds_a)
    low, high = np.quantile(drawn, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    differing = sum(one.differing for one in strata)
    separable = differing >= FEWEST_DIFFERING_ROWS
    return Verdict(
        verdict="better" if separable and low > 0 else "worse" if separable and high < 0 else "not separable",
        difference=float(_difference(observed, seeds_a)[0]),
        low=float(low),
        high=float(high),
        rows=int(sum(one.rows.sum() for one in strata)),
        candidate_seeds=seeds_a,
        reference_seeds=strata[0].seeds_b,
        differing_rows=differing,
    )


def _check(labels: NDArray[Any], candidate: NDArray[Any], reference: NDArray[Any], paired_seeds: bool) -> None:
    shapes = {"labels": labels.shape, "candidate": candidate.shape, "reference": reference.shape}
    if candidate.ndim != 2 or reference.ndim != 2 or {candidate.shape[1], reference.shape[1]} != {labels.size}:
        raise DataError(f"two systems are compared on the same rows, predictions as [seeds, rows]; given {shapes}")
    if not labels.size or not len(candidate) or not len(reference):
        raise DataError(f"a comparison needs a row and a seed at least; given {shapes}")
    if paired_seeds and len(candidate) != len(reference):
        raise DataError(f"paired seeds need as many of each system; given {len(candidate)} and {len(reference)}")


def _patterns(columns: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct columns ``[K, P]`` of ``[K, N]`` and how many rows show each, ``[P]``; found as packed integers."""
    classes = int(columns.max()) + 1
    width = max(1, int(classes - 1).bit_length())
    per_word = _BITS // width
    words = []
    for start in range(0, len(columns), per_word):
        word = np.zeros(columns.shape[1], dtype=np.int64)
        for column in columns[start : start + per_word]:
            word = (word << width) | column
        words.append(word)
    if len(words) == 1:
        _, first, counts = np.unique(words[0], return_index=True, return_counts=True)
    else:
        _, first, counts = np.unique(np.stack(words), axis=1, return_index=True, return_counts=True)
    return columns[:, first].astype(np.int64), counts.astype(np.int64)


def _class_table(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> Any:
    """Sparse ``[P, 3 C]``, from weights of patterns to how many rows of each class are right, labelled and predicted."""
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

    patterns = np.arange(len(labels))
    right = np.flatnonzero(labels == predicted)
    rows = np.concatenate([right, patterns, patterns])
    columns = np.concatenate([labels[right], classes + labels, 2 * classes + predicted])
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(labels), 3 * classes))


def _difference(values: Floats, seeds_a: int) -> Floats:
    """Mean over the candidate's seeds minus that over the reference's, ``[b]`` from ``[b, S_a + S_b]``."""
    return np.asarray(values[:, :seeds_a].mean(axis=1) - values[:, seeds_a:].mean(axis=1))


def _seed_effects(rng: np.random.Generator, values_a: Floats, values_b: Floats, replicates: int, *, paired: bool) -> Floats:
    """By how much other seeds would have changed the difference of the means, ``[replicates]``."""
    if paired:
        return _student_over_normal(len(values_a) - 1) * _redraw(rng, values_a - values_b, replicates)
    widen = _student_over_normal(len(values_a) + len(values_b) - 2)
    return np.asarray(widen * (_redraw(rng, values_a, replicates) - _redraw(rng, values_b, replicates)))


def _redraw(rng: np.random.Generator, values: Floats, replicates: int) -> Floats:
    """Change of the mean of ``values`` ``[S]`` when S - 1 of them are drawn with replacement; 0 for one value."""
    seeds = len(values)
    if seeds == 1:
        return np.zeros(replicates)
    drawn = rng.multinomial(seeds - 1, np.full(seeds, 1.0 / seeds), size=replicates)
    return np.asarray(drawn @ (values - values.mean()) / (seeds - 1))


def _student_over_normal(degrees: int) -> float:
    """By how much the 95% interval of Student's t is wider than the normal one; 1 where there is no seed to resample."""
    from scipy.special import ndtri, stdtrit  # type: ignore[import-untyped]

    upper = (1 + INTERVAL) / 2
    return float(stdtrit(degrees, upper) / ndtri(upper)) if degrees > 0 else 1.0
