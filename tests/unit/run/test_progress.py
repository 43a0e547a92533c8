"""What a person sees while a run goes on."""

import io

from rich.console import Console

from raykd.run.progress import Terminal


def watched() -> tuple[Terminal, io.StringIO]:
    screen = io.StringIO()
    return Terminal(Console(file=screen, force_terminal=True, width=100, soft_wrap=True)), screen


def test_the_bar_of_a_training_that_patience_ended_goes() -> None:
    terminal, screen = watched()
    train = {"event": "train", "step": 5, "total_steps": 100, "loss": 0.5, "rows_per_second": 10.0}
    with terminal.bars():
        terminal.record("teacher", train)
        terminal.record("teacher", {"event": "end", "step": 5, "best": 0.9, "best_step": 3})
        screen.seek(0)
        screen.truncate()
        terminal.record("student", train)
        terminal.say("a line, with which the bars are drawn again")
    assert "student" in screen.getvalue()
    assert "teacher" not in screen.getvalue()


def test_the_first_step_has_no_speed_yet() -> None:
    terminal, screen = watched()
    train = {"event": "train", "step": 1, "total_steps": 100, "loss": 0.5, "rows_per_second": 0.0}
    with terminal.bars():
        terminal.record("teacher", train)
        terminal.say("a line, with which the bar is drawn again")
    assert "loss 0.5000" in screen.getvalue()
    assert "rows/s" not in screen.getvalue()


def test_an_end_without_a_bar_is_nothing_to_say() -> None:
    terminal, screen = watched()
    terminal.record("teacher", {"event": "end", "step": 5})
    assert not screen.getvalue()
