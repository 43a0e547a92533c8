"""Accuracies by domain and verdicts between systems measure the same."""

import numpy as np
import pytest

from raykd.report.domain_accuracy import contrast, system_row


def test_a_verdict_is_about_the_average_of_the_table() -> None:
    rates = {"ours": {"books": 0.80, "dvd": 0.91}, "theirs": {"books": 0.81, "dvd": 0.80}}
    rows = {"books": 1000, "dvd": 100}
    dice = np.random.default_rng(1)
    right = {
        system: {domain: dice.permutation(np.arange(rows[domain]) < rate * rows[domain])[None] for domain, rate in own.items()}
        for system, own in rates.items()
    }
    ours, theirs = (system_row("student", "", system, right[system]) for system in ("ours", "theirs"))
    result = contrast(("ours", right["ours"]), ("theirs", right["theirs"])).result
    assert ours.average.mean - theirs.average.mean == pytest.approx(0.05)
    assert result.difference == pytest.approx(0.05)
    assert result.rows == 1100
