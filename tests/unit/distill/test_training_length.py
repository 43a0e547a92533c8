"""Lengths of the students' trainings, in steps and in epochs."""

from hypothesis import given
from hypothesis import strategies as st

from raykd.config import build
from raykd.config.student import StudentVariant
from raykd.distill.training_length import TrainingLength, match_lengths
from tests.unit.config.sections import minimal


def variants(parts, **student):
    return build(minimal(student__variants=parts, **{f"student__{key}": one for key, one in student.items()})).student_variants


def lengths(given_variants: tuple[StudentVariant, ...], rows, unit="steps") -> dict[str, TrainingLength]:
    return match_lengths(given_variants, rows, unit=unit)


def test_students_of_equal_length_keep_their_training():
    students = build(minimal()).student_variants
    found = lengths(students, {"no_kd": 400, "kd": 400})
    assert [found[one.name].training for one in students] == [one.student.training for one in students]
    assert [(one.steps, one.matched) for one in found.values()] == [(39, True)] * 2


def test_intermediate_layers_count_and_their_student_is_the_longest():
    students = build(minimal(student__intermediate={"training": {"epochs": 4}})).student_variants
    found = lengths(students, {"no_kd": 100, "kd": 100})
    assert found["no_kd"].training == students[0].student.training.model_copy(update={"epochs": 7})
    assert found["kd"].training == students[1].student.training
    assert found["no_kd"].steps == found["kd"].steps == 28


def test_few_rows_are_trained_on_for_as_many_steps_and_evaluated_as_rarely():
    parts = {"no_kd": {"objective": {"kind": "fine_tune"}}, "kd": {}, "long": {"training": {"epochs": 9}}}
    found = lengths(variants(parts, training={"epochs": 2, "batch_size": 10}), {"no_kd": 95, "kd": 1003, "long": 1003})
    assert (found["kd"].training.epochs, found["kd"].training.max_steps, found["kd"].steps) == (2, None, 202)
    few = found["no_kd"].training
    assert (few.epochs, few.max_steps, few.evaluate_every) == (21, 202, 101)
    assert (found["long"].steps, found["long"].matched) == (909, False), "it sets its own epochs"
    same = lengths(variants(parts, training={"epochs": 2, "batch_size": 10}), {"no_kd": 95, "kd": 1003, "long": 1003}, "epochs")
    assert {name: one.training.epochs for name, one in same.items()} == {"no_kd": 2, "kd": 2, "long": 9}


@given(
    st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(1, 500), st.integers(1, 6), st.integers(1, 64)), min_size=1),
    st.one_of(st.none(), st.integers(1, 300)),
)
def test_all_matched_students_have_the_steps_of_the_longest(sizes, max_steps):
    parts = {
        name: {"training": {"batch_size": batch}, "intermediate": {"training": {"epochs": epochs, "batch_size": batch}}}
        for name, (_, epochs, batch) in sizes.items()
    }
    students = variants(parts, training={"max_steps": max_steps})
    rows = {name: count for name, (count, _, _) in sizes.items()}
    found = lengths(students, rows)
    assert len({one.steps for one in found.values()}) == 1
    for one in students:
        before = one.student.intermediate.own_training.num_steps(rows[one.name])
        assert found[one.name].training.num_steps(rows[one.name]) == found[one.name].steps - before
