"""Progress of calls from Python, also in a real notebook kernel."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from raykd.api.notebook_terminal import LINE_S, LineTerminal, call_terminal
from tests.training_events import step_metrics


def test_bars_become_lines_now_and_then() -> None:
    screen, times = io.StringIO(), iter([0.0, LINE_S / 2, LINE_S, LINE_S * 1.5, LINE_S * 2.5, LINE_S * 4])
    terminal = LineTerminal(Console(file=screen, width=100), clock=lambda: next(times))
    with terminal.bars():
        terminal.wait_for("starting Ray")
        for done in range(1, 7):
            terminal.advance("train rows", done, 6, "fast")
    assert screen.getvalue().splitlines() == ["starting Ray ...", "train rows: 3 of 6  fast", "train rows: 5 of 6  fast"]


def test_the_first_step_is_counted_from_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = call_terminal()
    with terminal.bars():
        terminal.record("teacher", step_metrics(1))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "s after the call" in shown.err


def test_a_notebook_shows_plain_lines_on_its_standard_output(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="pip install nbclient ipykernel")
    pytest.importorskip("ipykernel", reason="pip install nbclient ipykernel")
    from nbformat.v4 import new_code_cell, new_notebook

    code = (
        "from raykd.api.notebook_terminal import call_terminal\nterminal = call_terminal()\nwith terminal.bars():\n"
        "    terminal.wait_for('starting Ray')\n    terminal.print_line('a line [1]')\n    terminal.advance('rows', 1, 2)\n"
    )
    notebook = new_notebook(cells=[new_code_cell(code)])
    nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = notebook.cells[0].outputs
    assert {(one.output_type, one.get("name")) for one in outputs} == {("stream", "stdout")}
    assert "".join(one.text for one in outputs) == "starting Ray ...\na line [1]\n"
