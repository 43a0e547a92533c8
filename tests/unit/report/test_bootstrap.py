import tracemalloc

import numpy as np
import pytest
from scipy.stats import binomtest, t
from sklearn.metrics import f1_score

from raykd.errors import DataError
from raykd.metrics.class_counts import accuracy, class_f1, f1_of, macro_f1
from raykd.metrics.regression_metrics import pearson_features, pearson_of_sums
from raykd.report.bootstrap import compare_moments, compare_predictions, paired_bootstrap, stratified_bootstrap
from raykd.report.verdicts import judge
from raykd.task_kinds import task_kind


def simulate(dice: np.random.Generator, *, seeds: int, rows: int, rate: float, easy: np.ndarray, sd: float = 0.0) -> np.ndarray:
    """Right rows of each of ``seeds`` trainings, whose rates differ by ``sd``; ``easy`` ties two systems' rows."""
    rates = rate + dice.normal(0, sd, seeds) if sd else np.full(seeds, rate)
    noise = 0.7 * easy + 0.3 * dice.random((seeds, rows))
    order = np.argsort(np.argsort(noise, axis=1), axis=1)
    return order < rates[:, None] * rows


def test_equal_systems_are_not_separable():
    right = np.random.default_rng(0).random((3, 500)) < 0.8
    verdict = paired_bootstrap(right, right)
    assert verdict.verdict == "not separable"
    assert verdict.difference == 0
    assert verdict.low < 0 < verdict.high


def test_one_system_against_itself_row_by_row_has_no_width():
    right = np.random.default_rng(0).random(500) < 0.8
    verdict = paired_bootstrap(right, right)
    assert (verdict.low, verdict.high, verdict.verdict) == (0, 0, "not separable")


def test_a_clear_gain_is_better_and_its_mirror_is_worse():
    dice = np.random.default_rng(1)
    easy = dice.random(1000)
    good = simulate(dice, seeds=3, rows=1000, rate=0.86, easy=easy)
    bad = simulate(dice, seeds=3, rows=1000, rate=0.80, easy=easy)
    better, worse = paired_bootstrap(good, bad), paired_bootstrap(bad, good)
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert better.difference == pytest.approx(0.06)
    assert worse.difference == -better.difference
    # other random numbers: equal to what 10,000 replicates resolve, about 0.03 of the interval's width
    assert (worse.low, worse.high) == pytest.approx((-better.high, -better.low), abs=0.002)


def test_pairing_rows_narrows_the_interval():
    dice = np.random.default_rng(2)
    base = dice.random(2000) < 0.8
    flipped = base ^ (dice.random(2000) < 0.02)
    paired = paired_bootstrap(flipped, base)
    unpaired = paired_bootstrap(dice.permutation(flipped), base)
    assert paired.high - paired.low < 0.5 * (unpaired.high - unpaired.low)


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says():
    """95% wanted; 200 tables of five trainings each tell the share to ± 3% (two standard errors)."""
    dice = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        rows, rate_a, rate_b = 400, dice.normal(0.83, 0.02, 5), dice.normal(0.80, 0.02, 5)
        easy = dice.random(rows)  # both systems share which rows are hard
        right_a = easy[None] < rate_a[:, None]
        right_b = easy[None] < rate_b[:, None]
        verdict = paired_bootstrap(right_a, right_b, replicates=500, seed=int(dice.integers(1 << 30)))
        hits += verdict.low <= 0.03 <= verdict.high
    assert 0.90 <= hits / 200 <= 0.995


def test_equal_systems_are_rarely_called_different():
    dice = np.random.default_rng(4)
    wrong = 0
    for _ in range(200):
        easy = dice.random(400)
        right_a, right_b = (easy[None] < dice.normal(0.8, 0.02, (5, 1)) for _ in range(2))
        wrong += paired_bootstrap(right_a, right_b, replicates=500, seed=int(dice.integers(1 << 30))).verdict != "not separable"
    assert wrong / 200 <= 0.09  # 5% wanted, ± 3% for 200 tables; without the correction for few seeds it is 12%


def test_more_spread_between_seeds_widens_the_interval():
    easy = np.random.default_rng(5).random(2000)
    still = easy[None] < np.array([[0.80], [0.80], [0.80]])
    moving = easy[None] < np.array([[0.75], [0.80], [0.85]])
    narrow, wide = paired_bootstrap(still, still), paired_bootstrap(moving, still)
    assert wide.high - wide.low > 0.05
    assert narrow.high == narrow.low == 0


def test_few_seeds_give_the_interval_of_students_t():
    """Rows that never matter: t with S - 1 degrees times sd / sqrt(S). Four draws of five values have thinner tails: 12%."""
    rates = np.array([0.70, 0.75, 0.80, 0.85, 0.90])
    rows = np.arange(200_000) / 200_000
    verdict = paired_bootstrap(rows[None] < rates[:, None], np.zeros((1, 200_000), bool), replicates=20_000)
    half_width = t.ppf(0.975, 4) * rates.std(ddof=1) / np.sqrt(5)
    assert (verdict.high - verdict.low) / 2 == pytest.approx(half_width, rel=0.12)


def test_paired_seeds_cancel_what_they_share():
    dice = np.random.default_rng(6)
    easy, shared = dice.random(2000), dice.normal(0.8, 0.05, (5, 1))
    right_a, right_b = easy[None] < shared + 0.01, easy[None] < shared
    assert paired_bootstrap(right_a, right_b).verdict == "not separable"
    assert paired_bootstrap(right_a, right_b, paired_seeds=True).verdict == "better"


def test_patterns_give_what_resampling_rows_gives():
    """The same interval as drawing row numbers, the plain way, one replicate after the other."""
    dice = np.random.default_rng(7)
    labels = dice.integers(0, 3, 300)
    said = [np.where(dice.random((1, 300)) < rate, labels, dice.integers(0, 3, (1, 300))) for rate in (0.8, 0.7)]
    verdict = compare_predictions(labels, said[0], said[1], statistic=macro_f1, replicates=4000)
    differences = []
    for _ in range(500):
        drawn = dice.integers(0, 300, 300)
        scores = [f1_score(labels[drawn], one[0][drawn], average="macro") for one in said]
        differences.append(scores[0] - scores[1])
    assert (verdict.low, verdict.high) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])), abs=0.012)
    assert verdict.difference == pytest.approx(
        f1_score(labels, said[0][0], average="macro") - f1_score(labels, said[1][0], average="macro")
    )


@pytest.mark.parametrize("names", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_class_without_a_row_counts_in_the_mean_whatever_its_place(names: tuple[int, int, int]) -> None:
    dice = np.random.default_rng(9)
    labels = dice.integers(0, 2, 200)
    logits = [np.eye(3)[np.where(dice.random(200) < rate, labels, 1 - labels)] for rate in (0.9, 0.6)]
    metrics = task_kind("single_label").resampled(("a", "b", "c"), positive_label=None)
    place = np.argsort(names)
    verdict = judge(place[labels], [logits[0][:, names]], [logits[1][:, names]], metrics["macro_f1"])
    said = [one.argmax(axis=1) for one in logits]
    scores = [f1_score(labels, one, average="macro", labels=[0, 1, 2], zero_division=0) for one in said]
    assert verdict.difference == pytest.approx(scores[0] - scores[1])


def test_rows_of_one_class_have_a_verdict_on_the_other() -> None:
    metrics = task_kind("single_label").resampled(("a", "b"), positive_label=None)
    logits = np.tile([2.0, 0.0], (60, 1))
    verdict = judge(np.zeros(60, np.int64), [logits], [logits], metrics["f1"])
    assert (verdict.verdict, verdict.difference) == ("not separable", 0)


@pytest.mark.parametrize(("rows", "differing"), [(1, 1), (10, 4), (1000, 5), (10, 6), (1000, 6), (1000, 60)])
def test_a_verdict_needs_rows_that_an_exact_test_tells_apart(rows: int, differing: int) -> None:
    right, wrong = np.ones(rows, bool), np.ones(rows, bool)
    wrong[:differing] = False
    verdict = paired_bootstrap(right, wrong)
    assert verdict.low > 0
    assert verdict.differing_rows == differing
    if binomtest(differing, differing).pvalue < 0.05:
        assert verdict.wording == verdict.verdict == "better"
    else:
        number = "1 row differs" if differing == 1 else f"{differing} rows differ"
        assert (verdict.verdict, verdict.wording) == ("not separable", f"not separable, as only {number}")


def test_statistics_agree_with_scikit_learn():
    dice = np.random.default_rng(8)
    labels, said = dice.integers(0, 4, 200), dice.integers(0, 4, 200)
    table = np.stack([np.bincount(one, minlength=4) for one in (labels[labels == said], labels, said)]).astype(float)
    assert accuracy(table) == pytest.approx(np.mean(labels == said))
    assert macro_f1(table) == pytest.approx(f1_score(labels, said, average="macro"))
    assert class_f1(table) == pytest.approx(f1_score(labels, said, average=None))
    assert f1_of(2)(np.stack([table, table])) == pytest.approx([class_f1(table)[2]] * 2)


def test_a_class_nobody_has_or_says_has_f1_zero():
    assert class_f1(np.array([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0]])).tolist() == [1.0, 0.0]


def test_domains_count_alike_whatever_their_rows():
    """Two domains of 1,000 and 100 rows: the verdict measures the mean of their accuracies, as a table's average does."""
    dice = np.random.default_rng(12)
    rates = {"large": (0.80, 0.81), "small": (0.91, 0.80)}
    rows = {"large": 1000, "small": 100}
    candidate, reference = (
        {domain: dice.permuted(np.tile(np.arange(n) < rates[domain][system] * n, (3, 1)), axis=1) for domain, n in rows.items()}
        for system in (0, 1)
    )
    table = [np.mean([right.mean(axis=1) for right in system.values()], axis=0).mean() for system in (candidate, reference)]
    verdict = stratified_bootstrap(candidate, reference)
    assert verdict.difference == pytest.approx(table[0] - table[1]) == pytest.approx(0.05)
    assert verdict.rows == 1100
    pooled = paired_bootstrap(*(np.concatenate(list(system.values()), axis=1) for system in (candidate, reference)))
    assert pooled.difference == pytest.approx(0.001, abs=0.001), "pooled, the large domain decides"
    differences = []
    for _ in range(2000):
        drawn = {domain: dice.integers(0, n, n) for domain, n in rows.items()}
        means = [np.mean([right[:, drawn[d]].mean() for d, right in system.items()]) for system in (candidate, reference)]
        differences.append(means[0] - means[1])
    # all seeds have the same accuracy, so only the draw of rows matters
    assert (verdict.low, verdict.high) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])), abs=0.006)


def test_one_domain_is_the_paired_bootstrap():
    right = np.random.default_rng(13).random((2, 3, 200)) < 0.8
    assert stratified_bootstrap({"": right[0]}, {"": right[1]}) == paired_bootstrap(*right)


@pytest.mark.parametrize("reference", [{"a": np.ones((2, 5))}, {"a": np.ones((2, 5)), "b": np.ones((3, 5))}])
def test_systems_on_other_domains_or_with_missing_seeds_are_refused(reference: dict[str, np.ndarray]):
    with pytest.raises(DataError, match=r"the same domains|as many seeds in every domain"):
        stratified_bootstrap({"a": np.ones((2, 5)), "b": np.ones((2, 5))}, reference)


def test_the_same_seed_gives_the_same_interval():
    dice = np.random.default_rng(9)
    right = dice.random((2, 3, 200)) < 0.8
    first, again, other = (paired_bootstrap(*right, seed=seed, replicates=50) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_many_seeds_need_more_than_one_word():
    dice = np.random.default_rng(10)
    labels = dice.integers(0, 5, 100)
    said = np.where(dice.random((60, 100)) < 0.7, labels, 0)
    verdict = compare_predictions(labels, said[:30], said[30:], statistic=macro_f1, replicates=50)
    assert verdict.rows == 100
    assert (verdict.candidate_seeds, verdict.reference_seeds) == (30, 30)


def test_a_million_rows_fit_into_little_memory():
    dice = np.random.default_rng(11)
    right_a, right_b = (dice.random((3, 1_000_000)) < rate for rate in (0.81, 0.80))
    tracemalloc.start()
    verdict = paired_bootstrap(right_a, right_b)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert verdict.verdict == "better"
    assert peak < 400e6  # 10,000 replicates of a million rows would be 80 GB


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((2, 5), (2, 6)), {}, "the same rows"),
        (((2, 0), (2, 0)), {}, "a row and a seed at least"),
        (((2, 5), (3, 5)), {"paired_seeds": True}, "given 2 and 3"),
    ],
)
def test_what_does_not_fit_is_refused(shapes: tuple[tuple[int, int], ...], options: dict[str, bool], message: str):
    with pytest.raises(DataError, match=message):
        paired_bootstrap(np.ones(shapes[0], bool), np.ones(shapes[1], bool), **options)


def test_a_correlation_is_computed_again_on_every_resample():
    dice = np.random.default_rng(0)
    values = dice.normal(size=300)
    good, bad = values + 0.5 * dice.normal(size=300), values + 0.8 * dice.normal(size=300)
    features = [pearson_features(values, one) for one in (good, bad)]
    verdict = compare_moments([features[0]], [features[1]], statistic=pearson_of_sums, replicates=4000)
    draws = dice.integers(0, 300, (4000, 300))
    gains = [np.corrcoef(values[one], good[one])[0, 1] - np.corrcoef(values[one], bad[one])[0, 1] for one in draws]
    assert verdict.difference == pytest.approx(np.corrcoef(values, good)[0, 1] - np.corrcoef(values, bad)[0, 1])
    assert (verdict.low, verdict.high) == pytest.approx(tuple(np.quantile(gains, [0.025, 0.975])), abs=0.01)
    assert verdict.verdict == "better"
    assert verdict.reversed().verdict == "worse", "the same difference of a metric where smaller is better"


def test_an_interval_of_correlations_covers_the_true_difference():
    """Two models with one true correlation: the interval holds zero in about 95 of 100 samples."""
    held = 0
    for seed in range(100):
        dice = np.random.default_rng(seed)
        values = dice.normal(size=120)
        systems = [[pearson_features(values, values + dice.normal(size=120)) for _ in range(3)] for _ in range(2)]
        verdict = compare_moments(*systems, statistic=pearson_of_sums, replicates=300, seed=seed)
        held += verdict.verdict == "not separable"
    assert 92 <= held <= 100


def test_moments_of_other_rows_are_refused():
    features = pearson_features(*np.random.default_rng(0).normal(size=(2, 10)))
    with pytest.raises(DataError, match="the same rows"):
        compare_moments([features], [features[:9]], statistic=pearson_of_sums)
