"""Cost of scoring from the provenance of a side table."""

from raykd.report.scoring_cost import scoring_cost


def test_the_cost_is_of_one_actor_for_a_thousand_rows() -> None:
    cost = scoring_cost({"seconds": 3.0, "device": ["cuda"]}, 500)
    assert cost is not None
    assert (cost.seconds, cost.device) == (6.0, "cuda")


def test_tables_that_were_not_scored_have_none() -> None:
    assert scoring_cost({"kind": "average"}, 500) is None
    assert scoring_cost({"seconds": 3.0, "device": ["cpu"]}, 0) is None
