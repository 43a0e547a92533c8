from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from raykd.data import storage
from raykd.errors import ConfigError, DataError
from raykd.report.comparison import FORMAT, Comparison, Entry, compare
from raykd.report.latency import Latency
from raykd.report.system import Task
from raykd.report.teacher_quality import teacher_quality
from raykd.task_kinds import MULTI_LABEL, SINGLE_LABEL

Invent = Callable[..., Comparison]
NAMES = ("negative", "positive")


def right_on(labels: np.ndarray, wrong: list[int]) -> np.ndarray:
    """Logits that are right on all rows but ``wrong``."""
    said = labels.copy()
    said[wrong] = 1 - said[wrong]
    return np.eye(2)[said] * 2


LABELS = np.array([0, 1] * 10)
TEACHER = right_on(LABELS, [0])
STUDENT = right_on(LABELS, [0, 1, 2])


def small(*entries: Entry, **options: object) -> Comparison:
    return compare(entries, Task(SINGLE_LABEL, LABELS, NAMES), **{"name": "run", **options})  # type: ignore[arg-type]  # values of several types


def test_figures_by_hand():
    comparison = small(
        Entry("student", "kd", 1, STUDENT),
        Entry("teacher", "big", 7, TEACHER),
        Entry("student", "kd", 2, TEACHER),
    )
    teacher, student = comparison.systems
    assert (teacher.role, student.role) == ("teacher", "student")
    assert (teacher.seeds, student.seeds) == ((7,), (1, 2))
    assert student.metrics["accuracy"].values == pytest.approx((0.85, 0.95))
    assert student.metrics["accuracy"].mean == pytest.approx(0.90)
    assert student.metrics["accuracy"].sd == pytest.approx(0.1 / np.sqrt(2))
    assert teacher.metrics["accuracy"].sd is None
    assert student.metrics["agreement"].values == pytest.approx((0.90, 1.0))
    assert "agreement" not in teacher.metrics
    assert student.retention is not None
    assert student.retention.mean == pytest.approx(0.90 / 0.95)
    assert teacher.retention is None
    assert comparison.constant_score == 0.5
    assert (comparison.headline, comparison.table_metrics[1], comparison.positive_label) == ("accuracy", "f1", "positive")
    assert sum(student.calibration.rows) == 2 * len(LABELS)
    # the first student misses rows 0, 1, 2: ten negatives of which 0 and 2 are missed; the second row 0 alone
    assert student.classes["negative"]["recall"] == pytest.approx((0.8 + 0.9) / 2)


def test_verdicts_name_their_sides(invent: Invent):
    comparison = invent()
    sides = [(one.candidate, one.reference, one.metric) for one in comparison.contrasts]
    assert [one.name for one in comparison.systems] == ["big", "no_kd", "kd"]
    expected = [(2, 1), (2, 0), (1, 0)]
    assert sides == [(a, b, metric) for a, b in expected for metric in ("accuracy", "f1")]
    assert comparison.judged


@pytest.mark.parametrize(
    ("gain", "words"), [(0.6, "KD helps: accuracy"), (0.0, "KD has no measurable effect"), (-0.6, "KD hurts: accuracy")]
)
def test_the_verdict_says_plainly_what_came_out(invent: Invent, gain: float, words: str):
    comparison = invent(gain=gain)
    assert comparison.verdict().startswith(words)
    student, baseline = comparison.systems[2].metrics["accuracy"].mean, comparison.systems[1].metrics["accuracy"].mean
    assert f"{student:.1%} with it, {baseline:.1%} without" in comparison.verdict()
    assert "95% interval" in comparison.verdict()
    assert "600 rows, 3 seeds each, this teacher)" in comparison.verdict()


def test_rows_that_selected_the_models_are_named_in_the_verdict(invent: Invent):
    assert "600 rows of the validation set, which also selected the models, 3 seeds each" in invent(selected=True).verdict()
    assert any("selected each model's weights" in warning for warning in invent(selected=True).warnings)
    assert not invent().warnings


def test_one_seed_says_that_the_spread_is_unknown(invent: Invent):
    assert any("the spread is unknown" in line for line in invent(seeds=1).conclusion)
    assert any("Two seeds show little" in line for line in invent(seeds=2).conclusion)
    assert not any("spread" in line for line in invent(seeds=3).conclusion)


def test_no_verdict_without_a_baseline():
    comparison = small(Entry("teacher", "big", 1, TEACHER), Entry("student", "kd", 1, STUDENT))
    assert comparison.verdict().startswith("No verdict: there is one student only; add another to student.variants")
    assert not comparison.judged
    assert "keeps 89.5% of this teacher's accuracy" in comparison.conclusion[1]


def test_no_verdict_on_a_student_without_distillation_alone():
    comparison = small(Entry("teacher", "big", 1, TEACHER), Entry("student", "no_kd", 1, STUDENT))
    assert comparison.verdicts == ("No verdict: there is one student only; add another to student.variants.",)
    assert comparison.notes == ("The student no KD keeps 89.5% of this teacher's accuracy.",)
    assert not comparison.judged


def test_no_teacher_leaves_out_what_needs_one():
    comparison = small(Entry("student", "no_kd", 1, STUDENT), Entry("student", "kd", 1, STUDENT))
    assert all(one.retention is None and "agreement" not in one.metrics for one in comparison.systems)
    assert comparison.judged


def test_every_student_is_compared_with_the_first_and_with_the_one_named():
    entries = [Entry("student", "no_kd", 1, STUDENT), Entry("teacher", "big", 1, TEACHER)]
    entries += [Entry("student", name, 1, TEACHER) for name in ("kd", "kd_all", "relation")]
    comparison = small(*entries, against="kd")
    assert [one.name for one in comparison.systems] == ["big", "no_kd", "kd", "kd_all", "relation"]
    names = [(comparison.systems[one.candidate].name, comparison.systems[one.reference].name) for one in comparison.judged]
    assert names == [("kd", "no_kd"), ("kd_all", "no_kd"), ("relation", "no_kd"), ("kd_all", "kd"), ("relation", "kd")]
    beginnings = [line.split(":")[0] for line in comparison.verdicts]
    assert beginnings[0].startswith("KD ")
    assert beginnings[3:] == [f"{one} and KD are not separable on these rows" for one in ("KD all", "relation")]
    assert "accuracy 95.0% against 95.0%: +0.0 points" in comparison.verdicts[3]
    assert not any("intervals" in line for line in comparison.notes), "it stands beside the separable ones"
    assert not any("keeps" in line for line in comparison.notes), "the table says it of so many"
    others = [(one.candidate, one.reference) for one in comparison.contrasts if one.reference == 0 and one.metric == "accuracy"]
    assert others == [(2, 0), (3, 0), (4, 0), (1, 0)], "each against the teacher too"


def test_two_intervals_need_no_caveat_about_many():
    comparison = small(*(Entry("student", name, 1, STUDENT) for name in ("a", "b", "c")))
    assert len(comparison.verdicts) == 2
    assert not any("intervals" in line for line in comparison.notes)


def test_many_labels_a_row():
    targets = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 0, 0]] * 10)
    good, bad = targets * 4.0 - 2.0, np.full(targets.shape, -2.0)
    comparison = compare(
        [Entry("teacher", "t", 1, good), Entry("student", "no_kd", 1, bad), Entry("student", "kd", 1, good)],
        Task(MULTI_LABEL, targets, ("a", "b", "c")), name="run",
    )  # fmt: skip
    assert (comparison.headline, comparison.table_metrics[1], comparison.constant_score) == ("exact_match", "macro_f1", 0.25)
    assert comparison.systems[1].metrics["exact_match"].mean == 0.25
    assert comparison.systems[1].metrics["agreement"].mean == 0.25
    assert comparison.verdict().startswith("KD helps: exact match 100.0% with it, 25.0% without")


def test_more_classes_than_two_are_judged_by_macro_f1(invent: Invent):
    comparison = invent(names=("world", "sport", "trade"))
    assert (comparison.table_metrics[1], comparison.positive_label) == ("macro_f1", None)
    assert {one.metric for one in comparison.contrasts} == {"accuracy", "macro_f1"}


def test_positive_label_is_chosen_by_name(invent: Invent):
    first, second = invent(positive_label="negative"), invent()
    assert first.positive_label == "negative"
    f1 = [one.systems[0].metrics["f1"].mean for one in (first, second)]
    assert f1[0] == pytest.approx(first.systems[0].classes["negative"]["f1"])
    assert f1[1] == pytest.approx(second.systems[0].classes["positive"]["f1"])
    with pytest.raises(ConfigError, match="'good' is not one of the labels"):
        invent(positive_label="good")


def test_json_round_trip(invent: Invent, tmp_path: Path):
    quality = teacher_quality(TEACHER, LABELS, TEACHER, LABELS)
    comparison = invent(teacher_quality=quality, environment={"date": "today"}, warnings=["few rows"])
    path = str(tmp_path / "report.json")
    storage.write_json(path, comparison.model_dump(mode="json"))
    assert Comparison.load(path) == comparison
    assert comparison.warnings == ("few rows", *quality.warnings)


def test_another_format_is_refused(tmp_path: Path):
    storage.write_json(str(tmp_path / "report.json"), {"format": 99})
    with pytest.raises(DataError, match="is a report of format 99"):
        Comparison.load(str(tmp_path / "report.json"))


def test_a_report_with_a_part_missing_is_refused(tmp_path: Path):
    storage.write_json(str(tmp_path / "report.json"), {"format": FORMAT})
    with pytest.raises(DataError, match=r"is not a whole report \(name: "):
        Comparison.load(str(tmp_path / "report.json"))


def test_size_and_speed_come_from_the_model(tmp_path: Path):
    def model(name: str, width: int) -> str:
        (tmp_path / name).mkdir()
        save_file({"a": np.zeros((3, width), np.float32), "b": np.zeros(2, np.float32)}, tmp_path / name / "model.safetensors")
        (tmp_path / name / "config.json").write_text("{}")
        return str(tmp_path / name)

    def latency(p50_ms: float, rows_per_second: float) -> Latency:
        return Latency(
            p50_ms=p50_ms,
            p99_ms=2 * p50_ms,
            rows_per_second=rows_per_second,
            batch_size=32,
            single_rows=100,
            batches=3,
            threads=1,
        )

    big, little = model("big", 40), model("little", 4)
    comparison = small(
        Entry("teacher", "t", 1, TEACHER, big),
        Entry("student", "kd", 1, STUDENT, None),
        Entry("student", "kd", 2, STUDENT, little),
        latencies={(big,): latency(8.0, 100.0), (little,): latency(2.0, 500.0)},
    )
    teacher, student = comparison.systems
    assert student.footprint is not None
    assert student.footprint.parameters == 3 * 4 + 2
    assert student.footprint.bytes_on_disk == sum(file.stat().st_size for file in Path(little).iterdir())
    assert student.speed_up == pytest.approx(5)
    assert student.latency_speed_up == pytest.approx(4)
    assert teacher.speed_up is None
    assert any("at 5.0 times its speed" in line for line in comparison.conclusion)


def test_a_history_that_is_not_there_is_left_out(tmp_path: Path):
    comparison = small(Entry("teacher", "t", 1, TEACHER, None, str(tmp_path / "none.jsonl")))
    assert comparison.systems[0].curves == ()


@pytest.mark.parametrize("logits", [TEACHER[:-1], np.zeros((len(LABELS), 3)), np.full_like(TEACHER, np.nan)])
def test_logits_must_fit_the_labels(logits: np.ndarray):
    with pytest.raises(DataError, match="logits"):
        small(Entry("teacher", "t", 1, logits))


def test_nothing_to_compare_is_an_error():
    with pytest.raises(DataError, match="one model at least"):
        small()
