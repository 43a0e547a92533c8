"""Values that are not finite, named by the first quantity that has one, its term and its worker."""

from raykd.trainers.non_finite import find_non_finite

INF, NAN = float("inf"), float("nan")


def test_terms_of_the_loss_are_named_with_their_workers() -> None:
    found = find_non_finite(3, {"kd": NAN, "ce": 1.0}, {}, NAN, [[0.5, 0.5], [NAN, 0.5]])
    assert [(one.quantity, one.term, one.rank, one.value) for one in found] == [("loss", "kd", 1, "nan")]


def test_a_sum_that_overflows_alone_has_no_worker() -> None:
    (found,) = find_non_finite(3, {"ce": INF}, {}, 1.0, [[3e38], [3e38]])
    assert (found.term, found.rank, found.value) == ("ce", None, "inf")


def test_the_gradient_norm_comes_before_the_norms_of_terms() -> None:
    (found,) = find_non_finite(3, {"ce": 1.0}, {"ce": NAN}, INF, [[1.0, NAN]])
    assert (found.quantity, found.stops) == ("gradient norm", True)
    (found,) = find_non_finite(3, {"ce": 1.0}, {"ce": NAN}, 1.0, [[1.0, NAN]])
    assert (found.quantity, found.term, found.rank, found.stops) == ("per-term gradient norm", "ce", 0, False)
