"""Answers of the service: order, probabilities of each kind of task, and the cascade."""

import asyncio

import numpy as np
import pytest

from raykd.errors import ConfigError
from raykd.models.model_settings import ModelSettings
from raykd.serve.predict_request import PredictRequest
from raykd.serve.prediction_service import PredictionService, score_in_process
from raykd.serve.serve_command import local_service
from raykd.serve.served_application import ServedApplication, check_served
from raykd.serve.served_model import ServedModel
from tests.unit.serve.conftest import save_model

TEXTS = ("good", "the plot was awful and the film a bore", "fine film", "is " * 200)


def answers(service, *texts, **options):
    return asyncio.run(service.predict(PredictRequest(texts, **options)))


def test_one_list_for_each_text_best_first_in_the_order_of_the_request(served):
    service = PredictionService(served.description, score_in_process(served))
    made = answers(service, *TEXTS).answers
    assert len(made) == len(TEXTS)
    for text, entries in zip(TEXTS, made, strict=True):
        assert {entry["label"] for entry in entries} == {"bad", "good"}
        assert entries[0]["score"] >= entries[1]["score"]
        assert sum(entry["score"] for entry in entries) == pytest.approx(1)
        alone = answers(service, text).answers[0]
        assert [one["label"] for one in entries] == [one["label"] for one in alone]
        assert [one["score"] for one in entries] == pytest.approx([one["score"] for one in alone], abs=1e-4)
        assert ("truncated" in entries[0]) == (text == TEXTS[3])
        assert "answered_by" not in entries[0]
    (first,) = answers(service, "good", top_k=1, return_logits=True).answers
    assert len(first) == 1
    logits = served.logits(served.encode(["good"]))[0]
    assert first[0]["logit"] == pytest.approx(logits.max(), abs=1e-5)


@pytest.mark.parametrize("kind", ["multi_label", "regression"])
def test_other_kinds_have_their_own_scores(kind, small_world, tmp_path):
    labels = ("value",) if kind == "regression" else ("x", "y", "z")
    settings = ModelSettings(32, 1.0 if kind == "regression" else 1.5)
    model = ServedModel.load(save_model(tmp_path / "m", small_world["student"], labels=labels, kind=kind, settings=settings))
    entries = answers(PredictionService(model.description, score_in_process(model)), "good film").answers[0]
    logits = model.logits(model.encode(["good film"]))[0].astype(float)
    scores = {entry["label"]: entry["score"] for entry in entries}
    expected = logits if kind == "regression" else 1 / (1 + np.exp(-logits / 1.5))
    assert [scores[label] for label in labels] == pytest.approx(expected.tolist(), abs=1e-6)


def test_unsure_rows_go_to_the_teacher_and_the_answer_says_so(served_folder_path, small_world, tmp_path, served):
    teacher = save_model(tmp_path / "teacher", small_world["student"], seed=5, layers=2)
    confidence = served.description.confidence(served.logits(served.encode(TEXTS)))
    threshold = float(np.median(confidence))
    service = local_service(ServedApplication(served_folder_path, teacher, threshold))
    made = answers(service, *TEXTS)
    who = [entries[0]["answered_by"] for entries in made.answers]
    assert who == ["teacher" if one < threshold else "student" for one in confidence]
    assert made.escalated == who.count("teacher") == 2
    model = ServedModel.load(teacher)
    scores = model.description.probabilities(model.logits(model.encode(TEXTS)))
    for index, entries in enumerate(made.answers):
        if who[index] == "teacher":
            assert entries[0]["score"] == pytest.approx(scores[index].max(), abs=1e-4)
    assert [entries[0].get("truncated", False) for entries in made.answers] == [False, False, False, True]


def test_the_threshold_of_the_folder_is_the_default(served_folder_path, small_world, tmp_path):
    teacher = save_model(tmp_path / "teacher", small_world["student"], seed=5)
    assert local_service(ServedApplication(served_folder_path, teacher)).teacher.threshold == 0.7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ("good", "bad")}, "the student's labels are 'bad', 'good', the teacher's 'good', 'bad'"),
        ({"labels": ("a", "b", "c")}, "the teacher's 'a', 'b', 'c'"),
        ({"kind": "multi_label"}, "the student's task is single_label, the teacher's multi_label"),
    ],
)
def test_a_teacher_of_other_labels_is_refused_before_anything_is_loaded(
    change, message, served_folder_path, small_world, tmp_path
):
    teacher = save_model(tmp_path / "teacher", small_world["student"], **change)
    with pytest.raises(ConfigError, match=message):
        check_served(ServedApplication(served_folder_path, teacher))


def test_a_student_without_a_threshold_needs_one(small_world, tmp_path):
    student = save_model(tmp_path / "student", small_world["student"])
    with pytest.raises(ConfigError, match=r"has no escalation_threshold in raykd\.json"):
        check_served(ServedApplication(student, student))
    check_served(ServedApplication(student, student, threshold=0.9))
