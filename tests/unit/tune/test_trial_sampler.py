"""Values of trials: the same for the same search, also when it is continued, and learnt from what has ended."""

from collections.abc import Mapping
from typing import Any

import pytest

from raykd.config.search_space import Choice, LogUniform, QUniform, Uniform
from raykd.tune.importance import importances
from raykd.tune.trial_record import TrialJournal, TrialRecord, best_of
from raykd.tune.trial_sampler import TrialSampler, distribution
from tests.unit.tune.small_search import search

ALPHA, TEMPERATURE = "student.objective.alpha", "student.objective.temperature"


def ended(index: int, values: dict[str, object], value: float) -> TrialRecord:
    return TrialRecord(index=index, values=values, status="finished", value=value)  # type: ignore[arg-type]  # values of several types


def quality(values: Mapping[str, Any]) -> float:
    return float(1.0 - (values[ALPHA] - 0.8) ** 2)


@pytest.mark.parametrize("searcher", ["random", "optuna"])
def test_a_continued_search_draws_what_it_would_have_drawn(searcher: str) -> None:
    config = search(searcher=searcher, trials=16)
    whole, known = TrialSampler(config), []
    for index in range(16):
        values = whole.values(index)
        known.append(ended(index, values, quality(values)))
        whole.tell(known[-1])
    continued = TrialSampler(config)
    for record in known[:13]:
        continued.tell(record)
    assert continued.values(13) == known[13].values
    assert len({str(record.values) for record in known}) == 16


def test_tpe_goes_where_the_figures_are() -> None:
    config = search(trials=60)
    suggester, drawn = TrialSampler(config), []
    for index in range(60):
        values = suggester.values(index)
        drawn.append(values[ALPHA])
        suggester.tell(ended(index, values, quality(values)))
    far = [abs(float(alpha) - 0.8) for alpha in drawn]  # type: ignore[arg-type]  # a number in this space
    assert sum(far[40:]) / 20 < 0.6 * sum(far[:10]) / 10


def stopped(index: int, values: dict[str, object], value: float) -> TrialRecord:
    return TrialRecord(index=index, values=values, status="stopped", value=value, step=5, curve=((5, value),))


def test_a_stopped_trial_is_no_match_for_one_that_finished() -> None:
    """Its figure may be the better one: a loss on a lucky start, an accuracy before overfitting."""
    config = search(trials=60)
    suggester, known = TrialSampler(config), []
    for index in range(40):
        values = suggester.values(index)
        near = abs(float(values[ALPHA]) - 0.2) < 0.3
        known.append(ended(index, values, 0.8 - abs(values[ALPHA] - 0.2)) if near else stopped(index, values, 0.99))
        suggester.tell(known[-1])
    continued = TrialSampler(config)
    for record in known:
        continued.tell(record)
    drawn = []
    for index in range(40, 60):
        values = suggester.values(index)
        assert continued.values(index) == values
        drawn.append(float(values[ALPHA]))
    assert sum(abs(alpha - 0.2) < 0.3 for alpha in drawn) >= 14, drawn


def test_a_stopped_trial_without_a_figure_teaches_nothing() -> None:
    """As one that failed."""
    one, other = TrialSampler(search()), TrialSampler(search())
    for index in range(12):  # more than TPE's random start
        values = one.values(index)
        assert other.values(index) == values
        one.tell(TrialRecord(index=index, values=values, status="stopped"))
        other.tell(TrialRecord(index=index, values=values, status="failed"))
    one.tell(TrialRecord(index=20, values=values, status="stopped"))  # of an earlier run
    assert one.values(12) == other.values(12)


def test_a_failed_trial_teaches_nothing_and_stops_nothing() -> None:
    suggester = TrialSampler(search())
    values = suggester.values(0)
    suggester.tell(TrialRecord(index=0, values=values, status="failed", reason="diverged"))
    assert suggester.values(1) != values


def test_a_grid_is_walked_and_mixes_with_draws() -> None:
    grid = {"kind": "grid", "values": [1.0, 4.0]}
    walked = TrialSampler(search(searcher="grid", space={TEMPERATURE: grid}))
    assert [walked.values(index) for index in range(2)] == [{TEMPERATURE: 1.0}, {TEMPERATURE: 4.0}]
    mixed = TrialSampler(
        search(searcher="random", space={TEMPERATURE: grid, ALPHA: {"kind": "uniform", "low": 0, "high": 1}}, trials=4)
    )
    values = [mixed.values(index) for index in range(4)]
    assert [one[TEMPERATURE] for one in values] == [1.0, 4.0, 1.0, 4.0]
    assert len({one[ALPHA] for one in values}) == 4


def test_draws_stay_in_their_bounds_and_whole_numbers_whole() -> None:
    suggester = TrialSampler(
        search(
            searcher="random",
            space={
                "student.training.batch_size": {"kind": "quniform", "low": 8, "high": 64, "step": 8},
                "student.training.learning_rate": {"kind": "loguniform", "low": 1e-5, "high": 1e-3},
            },
        )
    )
    for index in range(50):
        values = suggester.values(index)
        size, rate = values["student.training.batch_size"], values["student.training.learning_rate"]
        assert isinstance(size, int)
        assert size % 8 == 0
        assert 8 <= size <= 64
        assert 1e-5 <= float(rate) <= 1e-3  # type: ignore[arg-type]  # a number in this space


def test_distributions_of_optuna() -> None:
    assert distribution(LogUniform(low=1, high=10)).log  # type: ignore[attr-defined]  # of the subclass for this range
    assert distribution(QUniform(low=0, high=1, step=0.25)).step == 0.25  # type: ignore[attr-defined]  # of the subclass for this range
    assert distribution(Choice(values=("linear", "cosine"))).choices == ("linear", "cosine")  # type: ignore[attr-defined]  # of the subclass for this range
    assert Uniform(low=0, high=1).clip(1.2) == 1
    assert Choice(values=(1, 2)).clip(2) == 2


def test_importance_names_the_hyperparameter_that_matters() -> None:
    suggester = TrialSampler(config := search(searcher="random"))
    records = [ended(index, values := suggester.values(index), quality(values)) for index in range(20)]
    explained = importances(config, records)
    assert explained is not None
    shares, _ = explained
    assert next(iter(shares)) == ALPHA
    assert sum(shares.values()) == pytest.approx(1.0)
    assert importances(config, records[:3]) is None
    same = [record.model_copy(update={"value": 0.5}) for record in records]
    assert importances(config, same) is None


def test_importance_compares_trials_at_a_step_that_all_of_them_reached() -> None:
    suggester = TrialSampler(config := search(searcher="random"))
    records = []
    for index in range(24):  # every third trial was stopped early, and all become better by the same
        values = suggester.values(index)
        early = quality(values)
        curve = ((10, early - 1), (20, early)) if index % 3 else ((10, early - 1),)
        status = "finished" if index % 3 else "stopped"
        records.append(
            TrialRecord(index=index, values=values, status=status, value=curve[-1][1], curve=curve, step=curve[-1][0])
        )
    same_step = [record.model_copy(update={"value": record.curve[0][1], "step": 10}) for record in records]
    assert importances(config, records) == importances(config, same_step)
    explained = importances(config, records)
    assert explained is not None
    assert explained[1] == 10
    failed = TrialRecord(index=24, values=records[0].values, status="failed", value=9.0, step=5)
    assert importances(config, [*records, failed]) == explained


def test_the_journal_keeps_trials_and_the_best_is_the_first_of_equals(tmp_path) -> None:  # type: ignore[no-untyped-def]  # a fixture
    journal = TrialJournal(str(tmp_path))
    records = [ended(0, {ALPHA: 0.1}, 0.5), ended(1, {ALPHA: 0.2}, 0.7), ended(2, {ALPHA: 0.3}, 0.7)]
    failed = TrialRecord(index=3, values={ALPHA: 0.4}, status="failed", value=0.9, reason="diverged")
    for record in [*records, failed]:
        journal.write(record)
    assert journal.read() == [*records, failed]
    best = best_of(journal.read(), "max")
    assert best is not None
    assert best.index == 1
    lowest = best_of(records, "min")
    assert lowest is not None
    assert lowest.index == 0
