"""Sections of teachers: the default kind, and language models that do not fit the job."""

from collections.abc import Callable
from typing import Any

import pytest

from raykd.config import CausalTeacherConfig, ExperimentConfig, TeacherConfig
from raykd.errors import ConfigError

CAUSAL = {"kind": "causal_lm", "model": "lm", "prompt": "{text} =>", "answers": {0: " bad", 1: " good"}}


def test_a_teacher_without_kind_is_a_classifier(experiment: Callable[..., ExperimentConfig]) -> None:
    assert isinstance(experiment(teacher={"model": "x"}).teacher, TeacherConfig)
    mixed = experiment(teacher=None, teachers=[{"model": "x", "weight": 2}, {**CAUSAL, "weight": 3}])
    assert [(one.kind, one.weight, one.fine_tune) for one in mixed.every_teacher] == [
        ("classifier", 2, True), ("causal_lm", 3, False),
    ]  # fmt: skip
    assert [one.model for one in mixed.every_classifier] == ["x"]


def test_labels_are_keys_of_the_answers_as_in_the_data(experiment: Callable[..., ExperimentConfig]) -> None:
    teacher = experiment(teacher=CAUSAL).teacher
    assert isinstance(teacher, CausalTeacherConfig)
    assert teacher.answers == {"0": " bad", "1": " good"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"prompt": "Review: text"}, r"prompt = 'Review: text' has no \{text\}"),
        ({"answers": {"0": " bad", "1": " "}}, "the answer for the label '1' is empty"),
        ({"answers": {"0": " bad", "1": " bad"}}, "the labels '0' and '1' have the same answer ' bad'"),
        (
            {"answers": {"0": " bad"}},
            r"teacher\.answers has no answer for \['1'\]; give one for each of data\.labels \(.0., .1.\)",
        ),
        ({"answers": {"0": " a", "1": " b", "2": " c"}}, r"teacher\.answers has an answer for \['2'\], which is no label"),
        ({"prompt": "{text} {text_pair}"}, r"has \{text_pair\}, but data\.second_sequence is not set"),
        ({"fine_tune": True}, r"unknown key teacher\.fine_tune"),
        ({"kind": "seq2seq"}, r"teacher\.kind = 'seq2seq': use one of 'classifier', 'causal_lm'"),
        ({"calibration": "batch"}, r"teacher\.calibration = 'batch'"),
    ],
)
def test_a_language_model_that_does_not_fit_is_refused(
    experiment: Callable[..., ExperimentConfig], changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        experiment(teacher={**CAUSAL, **changes})


def test_jobs_that_a_language_model_cannot_teach_are_refused(experiment: Callable[..., ExperimentConfig]) -> None:
    with pytest.raises(ConfigError, match=r"causal_lm chooses one of data\.labels, but data\.task = multi_label"):
        experiment(teacher=CAUSAL, data__task="multi_label")
    with pytest.raises(ConfigError, match=r"trains a teacher for each fold, but lm has kind = causal_lm"):
        experiment(teacher=CAUSAL, logits__folds=3)
    with pytest.raises(
        ConfigError, match=r"intermediate learns from the layers of a classifier, but teacher\.kind = causal_lm"
    ):
        experiment(teacher=CAUSAL, student__intermediate={"hidden_weight": 1})
    pairs = {"data__input_schema": "text:str:1,other:str:1,label:str:1", "data__second_sequence": "other"}
    with pytest.raises(ConfigError, match=r"has no \{text_pair\}, but data\.second_sequence is set"):
        experiment(teacher=CAUSAL, **pairs)
    reason = experiment(teacher=CAUSAL).refuse_teacher()
    assert reason is not None
    assert "takes the teacher as it is" in reason
