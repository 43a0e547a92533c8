"""Search files: what is refused before anything starts, and with which words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from raykd.config import TuneConfig, load_tune, with_values
from raykd.errors import ConfigError

BASE = {
    "name": "base",
    "data": {"input_schema": "t:str:1,y:str:1", "first_sequence": "t", "label": "y", "train": ["a.tsv"], "test": ["b.tsv"]},
    "teacher": {"model": "teacher"},
    "student": {"model": "student"},
}
META = {
    "kind": "meta_kd",
    "name": "meta",
    "reviews": {"folder": "reviews"},
    "domains": ["books", "dvd"],
    "teacher": {"model": "teacher"},
    "student": {"model": "student"},
}


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., TuneConfig]:
    def make(*overrides: str, base: dict[str, Any] = BASE, **content: Any) -> TuneConfig:
        (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
        file = tmp_path / "tune.yaml"
        file.write_text(yaml.safe_dump({"kind": "tune", "name": "search", "base": "base.yaml", **content}))
        return load_tune(file, overrides)

    return make


def test_defaults_are_the_space_of_each_kind_of_job(load: Callable[..., TuneConfig]) -> None:
    logit = load()
    assert set(logit.space) == {"student.objective.temperature", "student.objective.alpha"}
    assert logit.base.name == "search"
    assert set(load(base=META).space) == {"student.prediction.temperature", "student.intermediate.domain_loss_weight"}
    no_temperature = {**BASE, "student": {"model": "student", "objective": {"kind": "mse_kd"}}}
    assert set(load(base=no_temperature).space) == {"student.objective.alpha"}


def test_the_resolved_search_reads_back_as_itself(load: Callable[..., TuneConfig]) -> None:
    for config in (load(), load(base=META)):
        assert TuneConfig.model_validate(config.model_dump(mode="json")) == config


def test_values_and_overrides_reach_the_base(load: Callable[..., TuneConfig]) -> None:
    config = load(
        "base.student.training.epochs=7", "space.student.objective.alpha.high=0.5", set={"student.seeds": [4]}, space=ALPHA
    )
    assert config.base.student.seeds == (4,)
    assert config.base.student.training.epochs == 7  # type: ignore[union-attr]  # these searches are of a distillation
    assert config.space["student.objective.alpha"].check_values()[1] == 0.5
    over = load("base.student.seeds=[9]", set={"student.seeds": [4], "student.training.epochs": 7})
    assert over.base.student.seeds == (9,), "an override goes before the file"
    assert over.base.student.training.epochs == 7  # type: ignore[union-attr]  # these searches are of a distillation
    changed = with_values(config.base, {"student.objective.alpha": 0.25})
    assert changed.student.objective.alpha == 0.25  # type: ignore[union-attr]  # these searches are of a distillation


def test_an_override_names_another_base(load: Callable[..., TuneConfig], tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({**BASE, "seed": 7}))
    assert load("base=other.yaml").base.seed == 7
    changed = load("base.seed=5", "base=other.yaml", "base.student.seeds=[9]", set={"student.training.epochs": 4})
    assert (changed.base.seed, changed.base.student.seeds) == (7, (9,)), "keys of the base that is replaced go with it"
    assert changed.base.student.training.epochs == 4  # type: ignore[union-attr]  # these searches are of a distillation
    with pytest.raises(ConfigError, match=r"cannot read the job file .*absent\.yaml: No such file"):
        load("base=absent.yaml")
    with pytest.raises(ConfigError, match=r"base = 5; give the path of the job file"):
        load("base=5")


def test_overrides_make_a_hyperparameter_and_change_it(load: Callable[..., TuneConfig]) -> None:
    config = load("space.student.objective.alpha={kind: uniform, low: 0, high: 1}", "space.student.objective.alpha.high=0.5")
    assert config.space["student.objective.alpha"].check_values()[1] == 0.5
    with pytest.raises(ConfigError, match="space = 5: a section is needed here"):
        load("trials=3", space=5)


def test_a_bound_that_the_base_forbids_is_named_once(load: Callable[..., TuneConfig]) -> None:
    with pytest.raises(
        ConfigError, match=r"^space: student\.objective\.alpha = 2\.0: input should be less than or equal to 1$"
    ):
        load("space.student.objective.alpha={kind: uniform, low: 0, high: 2}")


def test_a_job_that_is_no_search_is_started_with_run(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(BASE))
    with pytest.raises(
        ConfigError, match=r"job\.yaml is no search \(kind: tune\), but a job that raykd run takes; a search has it as base$"
    ):
        load_tune(tmp_path / "job.yaml")
    (tmp_path / "job.yaml").write_text("kind: x")
    with pytest.raises(ConfigError, match="kind = 'x'; a search has kind: tune"):
        load_tune(tmp_path / "job.yaml")


def test_an_oversized_grid_is_refused_without_its_combinations(
    load: Callable[..., TuneConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TuneConfig, "grid_points", property(lambda _: pytest.fail("the combinations are listed")))
    values = {"kind": "grid", "values": list(range(1, 29))}
    space = {f"student.objective.{name}": values for name in ("temperature", "final_temperature", "alpha", "final_alpha")}
    with pytest.raises(ConfigError, match=r"the grid has 614656 combinations \(28 x 28 x 28 x 28\), trials = 24"):
        load(searcher="grid", space=space)


EPOCHS = {"teacher.training.epochs": {"kind": "choice", "values": [1, 2]}}
ALPHA = {"student.objective.alpha": {"kind": "uniform", "low": 0, "high": 1}}
POPULATION = {
    "scheduler": {"kind": "pbt", "interval_steps": 100},
    "searcher": "random",
    "set": {"compute.num_workers": 1, "student.training.evaluate_every": 50},
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"space": {"student.objective.alpha": {"kind": "uniform", "low": 0, "high": 2}}}, "alpha = 2.0: input should be less"),
        (
            {"space": {"student.temprature": {"kind": "uniform", "low": 1, "high": 2}}},
            "student.temprature does not exist; did you mean student.objective.temperature",
        ),
        (
            {"space": {"student.training.batch_size": {"kind": "uniform", "low": 8, "high": 64}}},
            "batch_size = 42.6.*valid integer",
        ),
        ({"space": {"compute.num_workers": {"kind": "choice", "values": [1, 2]}}}, "cannot be searched"),
        ({"space": {"student.seeds": {"kind": "choice", "values": [1, 2]}}}, "cannot be searched"),
        ({"space": {"teacher.model": {"kind": "choice", "values": ["a", "b"]}}}, "all trials share rows and models"),
        ({"space": EPOCHS, "set": {"teacher.fine_tune": False}}, "takes the teacher as it is"),
        ({"space": EPOCHS, "set": {"logits.folds": 4}}, "logits.folds = 4 trains 5 teachers for each value"),
        ({"space": EPOCHS, "set": {"logits.file": "logits.tsv"}}, "the logits come from logits.file = logits.tsv"),
        ({"space": {"teacher.training.epochs": {"kind": "uniform", "low": 1, "high": 3}}}, "epochs = 2.2.*valid integer"),
        (
            {
                "searcher": "grid",
                "trials": 5,
                "space": {
                    "student.objective.alpha": {"kind": "grid", "values": [0.1, 0.5, 0.9]},
                    "student.objective.temperature": {"kind": "grid", "values": [1, 2]},
                },
            },
            r"6 combinations \(3 x 2\), trials = 5",
        ),
        ({"searcher": "grid", "space": ALPHA}, "needs listed values"),
        ({"space": {"student.objective.alpha": {"kind": "grid", "values": [0.1]}}}, "cannot learn from the grid"),
        ({"space": {"student.objective.alpha": {"kind": "uniform", "low": 1, "high": 0}}}, "low lies below high"),
        ({"space": {"student.objective.temperature": {"kind": "loguniform", "low": 0, "high": 4}}}, "lies above 0"),
        ({"space": {"student.objective.alpha": {"kind": "quniform", "low": 0, "high": 1, "step": 0.3}}}, "does not divide"),
        (
            {"space": {"student.objective.alpha": {"kind": "quniform", "low": 0, "high": 1, "step": 1e-320}}},
            r"alpha\.step = 9.99989e-321 is too small for 0 to 1: it makes more than .* steps; raise it, or use uniform",
        ),
        (
            {"space": {"student.objective.alpha": {"kind": "quniform", "low": -1e308, "high": 1e308, "step": 1}}},
            r"alpha\.low = -1e\+308 and high = 1e\+308 are too far apart",
        ),
        (
            {**POPULATION, "space": {"student.training.batch_size": {"kind": "choice", "values": [8, 16]}}},
            "cannot move student.training.batch_size while a model trains",
        ),
        ({**POPULATION, "searcher": "optuna"}, "set searcher to random"),
        ({**POPULATION, "trials": 1}, "raise trials to at least 2"),
        (
            {**POPULATION, "set": {**POPULATION["set"], "student.intermediate": {"mode": "joint"}}},
            "student.intermediate trains on features too; use another scheduler",
        ),
        ({**POPULATION, "set": {"compute.num_workers": 2}}, "set base.compute.num_workers to 1"),
        ({**POPULATION, "set": {"student.training.evaluate_every": None}}, "evaluate at least once an interval"),
        ({**POPULATION, "set": {"student.training.evaluate_every": 200}}, "evaluate at least once an interval"),
        ({"base": {"kind": "tune"}}, "can be searched"),
        ({"trails": 3}, "did you mean trials"),
        ({"set": {"data.test": "validation"}}, "never sees"),
        ({"set": {"student.objective": {"kind": "fine_tune"}}}, "distils nothing"),
    ],
)
def test_refused_before_anything_starts(load: Callable[..., TuneConfig], content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(**content)


def test_a_population_moves_what_can_move(load: Callable[..., TuneConfig]) -> None:
    config = load(**POPULATION, space={**ALPHA, "student.training.learning_rate": {"kind": "choice", "values": [1e-4, 1e-3]}})
    assert config.scheduler.kind == "pbt"


RANGE = {"kind": "uniform", "low": 0, "high": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"space": {"student.domain_loss_weight": RANGE}}, r"did you mean student\.intermediate\.domain_loss_weight"),
        ({"space": {"meta_teacher.domain_loss_weight": RANGE}}, r"did you mean teacher\.domain_loss_weight"),
        ({"space": {"teacher.domain_loss_weight": {**RANGE, "low": -1}}}, "domain_loss_weight = -1.0: input should be greater"),
        (
            {"space": {"student.prediction.training.metric": {"kind": "choice", "values": ["accuracy", "f1"]}}},
            "what trials are compared by",
        ),
        ({"space": {"weights.alpha": RANGE}}, r"weights\.alpha cannot be searched: all trials share rows and models"),
        ({"space": {"student.mode": {"kind": "choice", "values": ["single", "two_stages"]}}}, "cannot be searched"),
        ({"space": {"student.domains": {"kind": "choice", "values": ["books"]}}}, "cannot be searched"),
        (
            {
                "set": {"student.mode": "single"},
                "space": {"student.prediction.training.learning_rate": {"kind": "loguniform", "low": 1e-5, "high": 1e-3}},
            },
            r"search that$",
        ),
        ({"set": {"student.domains": ["kitchen"]}}, "'kitchen' does not exist; domains are books, dvd"),
        ({"scheduler": {"kind": "asha"}}, "no metric before its end"),
    ],
)
def test_refused_of_meta_kd_before_anything_starts(
    load: Callable[..., TuneConfig], content: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(base=META, **content)


def test_a_single_objective_is_selected_as_its_one_training_says(load: Callable[..., TuneConfig]) -> None:
    metrics = {"student.intermediate.training": {"metric": "loss"}, "student.prediction.training": {"metric": "macro_f1"}}
    assert (load(base=META, set=metrics).metric, load(base=META, set=metrics).mode) == ("macro_f1", "max")
    single = load(base=META, set={**metrics, "student.mode": "single"})
    assert (single.metric, single.mode) == ("loss", "min")


@pytest.mark.parametrize(
    ("space", "content", "most"),
    [
        ({"student.objective.alpha": RANGE}, {}, 0),
        (EPOCHS, {}, 2),  # the job's own is 3
        ({"teacher.training.epochs": {"kind": "choice", "values": [1, 3, 9]}}, {}, 2),
        ({"teacher.training.epochs": {"kind": "quniform", "low": 1, "high": 9, "step": 2}}, {}, 4),
        ({"teacher.training.epochs": {"kind": "quniform", "low": 1, "high": 9, "step": 1}}, {"trials": 5}, 5),
        ({"teacher.training.learning_rate": {"kind": "loguniform", "low": 1e-6, "high": 1e-3}}, {"trials": 7}, 7),
        ({**EPOCHS, "teacher.training.learning_rate": {"kind": "choice", "values": [1e-5, 5e-5]}}, {}, 4),
        ({**EPOCHS, "student.objective.alpha": RANGE}, {"trials": 1}, 1),
    ],
)
def test_how_often_the_teacher_is_trained_is_known_before(
    load: Callable[..., TuneConfig], space: dict[str, Any], content: dict[str, Any], most: int
) -> None:
    assert load(space=space, **content).max_trial_teachers == most


def test_rows_with_several_labels_are_compared_by_exact_match(load: Callable[..., TuneConfig]) -> None:
    config = load(set={"data.task": "multi_label"})
    assert (config.metric, config.mode) == ("exact_match", "max")
    assert load(set={"data.task": "multi_label", "student.training.metric": "micro_f1"}).metric == "micro_f1"


def test_the_seed_of_the_trials_does_not_count_again_at_the_end(load: Callable[..., TuneConfig]) -> None:
    assert (load().trial_seed, load().final_seeds) == (1, (2, 3, 4, 5, 6))
    assert load(set={"student.seeds": [4, 1]}).final_seeds == (1, 2, 3, 5, 6)
    with pytest.raises(ConfigError, match=r"has the seed of the trials, 3 .* such as \[1, 2, 4\]"):
        load(set={"student.seeds": [3]}, final_seeds=[3, 4, 5])


@pytest.mark.parametrize(
    ("base", "path", "kind"),
    [
        (BASE, "student.training.learning_rate", True),
        (BASE, "student.objective.alpha", False),
        (META, "student.prediction.training.learning_rate", True),
        (META, "student.intermediate.training.epochs", True),
        (META, "student.intermediate.training.learning_rate", False),
    ],
)
def test_values_of_the_baselines_training_are_known(
    load: Callable[..., TuneConfig], base: dict[str, Any], path: str, kind: bool
) -> None:
    values = [1, 2] if path.endswith("epochs") else [0.1, 0.2]
    assert bool(load(base=base, space={path: {"kind": "choice", "values": values}}).baseline_paths) is kind


def test_cells_of_a_grid_come_in_order_and_set_the_number_of_trials(load: Callable[..., TuneConfig]) -> None:
    space = {
        "student.objective.alpha": {"kind": "grid", "values": [0.1, 0.9]},
        "student.objective.temperature": {"kind": "choice", "values": [1, 2, 4]},
    }
    config = load(searcher="grid", space=space)
    assert config.num_trials == 6
    assert config.grid_points[1] == {"student.objective.alpha": 0.1, "student.objective.temperature": 2}


def test_every_search_of_the_repository_is_valid() -> None:
    jobs = Path(__file__).resolve().parents[3] / "jobs"
    searches = sorted(jobs.glob("tune-*.yaml"))
    assert [load_tune(path).num_trials for path in searches] == [12, 24]


def test_regression_is_not_searched(load: Callable[..., TuneConfig]) -> None:
    with pytest.raises(ConfigError, match="verdicts of a search count right rows; search a classification task"):
        load(set={"data.task": "regression", "data.labels": [], "student.objective": {"kind": "mse_kd"}}, space={})
