"""The texts that latency is measured on."""

from pathlib import Path

from raykd.data.sample_rows import sample_rows
from tests.unit.data.two_columns import data


def test_an_empty_file_and_a_file_of_a_header_alone_are_passed_over(tmp_path: Path) -> None:
    given = data(tmp_path, test1="", test2="a\tb\tlabel\n", test3="a\tb\tlabel\nx\ty\t1\n", test4="a\tb\tlabel\nv\tw\t0\n")
    assert sorted(sample_rows(given, 10)) == [("v", "w"), ("x", "y")]


def test_however_many_rows_do_not_parse_the_others_are_found(tmp_path: Path) -> None:
    given = data(tmp_path, test1="a\tb\tlabel\n" + "no tab\n" * 50 + "x\ty\t1\n" * 3)
    assert sample_rows(given, 2) == [("x", "y"), ("x", "y")]


def test_rows_are_of_all_lengths_in_a_file_sorted_by_length(tmp_path: Path) -> None:
    """The first rows alone would be the shortest, on which models differ least."""
    given = data(tmp_path, test1="a\tb\tlabel\n" + "".join(f"{'x' * length}\ty\t1\n" for length in range(1, 1001)))
    lengths = [len(first) for first, _ in sample_rows(given, 100)]
    assert min(max(lengths[:50]), max(lengths[50:])) > 800
    assert 400 < sum(lengths) / 100 < 600
    assert sample_rows(given, 100) == sample_rows(given, 100)
