import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from raykd.errors import DataError
from raykd.metrics.regression_metrics import correlation, pearson_features, pearson_of_sums, regression_metrics


def test_by_hand():
    metrics = regression_metrics(np.array([1.0, 2.0, 3.0]), np.array([[1.0], [3.0], [2.0]]))
    assert metrics == pytest.approx({"pearson": 0.5, "spearman": 0.5, "rmse": np.sqrt(2 / 3), "loss": 2 / 3})


@settings(max_examples=50)
@given(rows=st.integers(3, 80), seed=st.integers(0, 10_000), shift=st.floats(-1e6, 1e6), scale=st.floats(1e-3, 1e3))
def test_correlations_are_those_of_scipy_wherever_the_numbers_lie(rows: int, seed: int, shift: float, scale: float):
    dice = np.random.default_rng(seed)
    values = dice.normal(size=rows)
    outputs = values + dice.normal(size=rows)
    metrics = regression_metrics(values, outputs[:, None])
    assert metrics["pearson"] == pytest.approx(pearsonr(values, outputs).statistic)
    assert metrics["spearman"] == pytest.approx(spearmanr(values, outputs).statistic)
    assert correlation(values, outputs * scale + shift) == pytest.approx(metrics["pearson"], abs=1e-6)


def test_correlations_of_resamples_need_sums_only():
    dice = np.random.default_rng(0)
    first, second = dice.normal(size=(2, 50)) + 100
    features = pearson_features(first, second)
    weights = dice.multinomial(50, np.full(50, 1 / 50), size=4)
    expected = [pearsonr(np.repeat(first, one), np.repeat(second, one)).statistic for one in weights]
    assert pearson_of_sums(weights @ features) == pytest.approx(expected)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e8])
def test_a_constant_correlates_with_nothing(constant: float):
    metrics = regression_metrics(np.array([1.0, 2.0, 4.0]), np.full((3, 1), constant))
    assert (metrics["pearson"], metrics["spearman"]) == (0, 0)


@pytest.mark.parametrize(
    ("values", "outputs", "message"),
    [
        ([], np.empty((0, 1)), "no rows"),
        ([1.0, 2.0], np.zeros((2, 2)), r"need \(2, 1\)"),
        ([1.0, np.nan], np.zeros((2, 1)), "label of row 1 is nan"),
        ([1.0, 2.0], np.array([[0.0], [np.inf]]), "output of row 1 is inf"),
    ],
)
def test_what_does_not_fit_is_refused(values: list[float], outputs: np.ndarray, message: str):
    with pytest.raises(DataError, match=message):
        regression_metrics(np.array(values), outputs)
