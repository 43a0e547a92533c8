"""Lines and bars on the terminal during a run."""

import io

from rich.console import Console

from raykd.progress import Terminal
from raykd.trainers.events import Ended, Evaluated, NonFinite
from tests.training_events import started, step_metrics


def watched() -> tuple[Terminal, io.StringIO]:
    screen = io.StringIO()
    return Terminal(Console(file=screen, force_terminal=True, width=100, soft_wrap=True)), screen


def test_the_bar_of_a_training_that_patience_ended_goes() -> None:
    terminal, screen = watched()
    train = step_metrics(5)
    with terminal.bars():
        terminal.record("teacher", train)
        terminal.record("teacher", Ended(step=5, best=0.9, best_step=3))
        screen.seek(0)
        screen.truncate()
        terminal.record("student", train)
        terminal.print_line("a line, with which the bars are drawn again")
    assert "student" in screen.getvalue()
    assert "teacher" not in screen.getvalue()


def test_the_first_step_has_no_speed_yet() -> None:
    terminal, screen = watched()
    train = step_metrics(1, rows_per_second=0.0)
    with terminal.bars():
        terminal.record("teacher", train)
        terminal.print_line("a line, with which the bar is drawn again")
    assert "loss 0.5000" in screen.getvalue()
    assert "rows/s" not in screen.getvalue()


def test_cpus_without_a_thread_are_named_once() -> None:
    screen = io.StringIO()
    terminal = Terminal(Console(file=screen, highlight=False, soft_wrap=True))
    terminal.record("teacher", started(threads=2, cpus=2))
    assert not screen.getvalue()
    terminal.record("student", started(threads=1, cpus=2))
    terminal.record("student", started(step=5, threads=1, cpus=2))
    text = screen.getvalue()
    assert text.count("student: 1 thread on 2 CPUs (compute.threads)") == 1
    terminal.shows_idle_cpus = False  # the job named no CPUs
    terminal.record("other", started(threads=1, cpus=2))
    assert screen.getvalue() == text


def test_an_evaluation_names_the_steps_of_its_training() -> None:
    screen = io.StringIO()
    terminal = Terminal(Console(file=screen, highlight=False, soft_wrap=True))
    terminal.record("teacher", step_metrics(5))
    terminal.record("teacher", Evaluated(step=5, metrics={"accuracy": 0.5}, best=False))
    terminal.record("student", Evaluated(step=7, metrics={"accuracy": 0.5}, best=False))
    assert [line for line in screen.getvalue().splitlines() if "step " in line and "first" not in line] == [
        "teacher: step 5 of 100  accuracy 0.5000",
        "student: step 7  accuracy 0.5000",
    ]


def test_what_takes_long_is_a_line_where_no_bar_is_shown() -> None:
    screen = io.StringIO()
    terminal = Terminal(Console(file=screen, highlight=False, soft_wrap=True))
    terminal.wait_for("checking files and models")
    terminal.wait_for("starting Ray and the workers", log=True)
    assert screen.getvalue() == "starting Ray and the workers\n"
    terminal, screen = watched()
    terminal.wait_for("starting Ray and the workers", log=True)
    assert not screen.getvalue(), "outside of bars nothing is awaited"


def test_a_diagnostic_that_is_not_finite_is_a_warning_that_names_it() -> None:
    screen = io.StringIO()
    terminal = Terminal(Console(file=screen, highlight=False, soft_wrap=True))
    terminal.record("teacher", NonFinite(step=100, quantity="per-term gradient norm", term="kd_kl", value="inf", rank=1))
    assert "warning: teacher: step 100: per-term gradient norm of term kd_kl = inf on rank 1" in screen.getvalue()


def test_an_end_without_a_bar_is_nothing_to_say() -> None:
    terminal, screen = watched()
    terminal.record("teacher", Ended(step=5, best=None, best_step=0))
    assert not screen.getvalue()


def test_what_is_awaited_is_shown_until_a_training_begins() -> None:
    terminal, screen = watched()
    with terminal.bars():
        terminal.wait_for("starting Ray and the workers")
        terminal.print_line("a line, with which the bars are drawn again")
        assert "starting Ray and the workers" in screen.getvalue()
        terminal.record("teacher", started())
        screen.seek(0)
        screen.truncate()
        terminal.print_line("another")
    assert "starting Ray" not in screen.getvalue()


def test_where_nobody_watches_bars_leave_nothing_behind() -> None:
    screen = io.StringIO()
    terminal = Terminal(Console(file=screen, force_terminal=False, width=100))
    with terminal.bars():
        terminal.wait_for("starting Ray and the workers")
        terminal.advance("rows", 1, 2)
    assert not screen.getvalue()
