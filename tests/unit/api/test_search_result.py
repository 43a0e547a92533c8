"""Results of searches."""

from pathlib import Path

import pytest

from raykd.api.search_result import SearchResult
from raykd.config import load_tune
from raykd.report.system import spread
from raykd.tune.search_report import SearchReport, SystemLine
from raykd.tune.trial_record import SharedWorkCount, TrialRecord

JOBS = Path(__file__).parents[3] / "jobs"
PATH = "student.objective.temperature"


@pytest.fixture
def result(tmp_path: Path) -> SearchResult:
    trials = tuple(
        TrialRecord(index=number, values={PATH: value}, status="finished", value=0.7 + number / 9)
        for number, value in enumerate((1.5, 4.0))
    )
    report = SearchReport(
        name="search", metric="accuracy", mode="max", searcher="random", scheduler="none", hyperparameters=(PATH,),
        log_scale=(PATH,), trials=trials, best=1, values={PATH: 4.0}, default_values={PATH: 2.0}, importances=None,
        work=SharedWorkCount(), rows={"": 90}, seeds=(1, 2),
        lines=(SystemLine(system="tuned", domains={"": spread([0.8, 0.9])}, average=spread([0.8, 0.9])),),
    )  # fmt: skip
    return SearchResult(str(tmp_path), load_tune(JOBS / "tune-sst2.yaml"), report)


def test_a_search_has_trials_values_and_the_best_model(result: SearchResult) -> None:
    assert result.best == {PATH: 4.0}
    frame = result.to_pandas()
    assert (frame[PATH].tolist(), frame["value"].idxmax()) == ([1.5, 4.0], 1)
    assert [one.path for one in result.best_models] == [f"{result.folder}/best"]
    assert "<svg" in result.plot()._repr_svg_()  # type: ignore[attr-defined]  # rich text of notebooks
    assert repr(result).startswith("<SearchResult search: 2 trials by random")
    assert "85.0" in result._repr_html_()


def test_a_search_across_domains_has_a_model_for_each(result: SearchResult) -> None:
    report = result.report.model_copy(update={"rows": {"books": 40, "dvd": 50}})
    models = SearchResult(result.folder, result.config, report).best_models
    assert [(one.domain, one.path) for one in models] == [(name, f"{result.folder}/best/{name}") for name in ("books", "dvd")]
