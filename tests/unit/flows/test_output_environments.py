"""Reports where output or pictures meet a hostile environment: something comes out, and the exit code is the result's."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raykd.report import html, plots
from raykd.report.comparison import Comparison
from raykd.report.files import read_report, write_report
from tests.unit.report.conftest import inventor

Invent = Callable[..., Comparison]
VERDICT = "helps: accuracy"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    write_report(inventor(folder)(name="größe ①", rows=50), str(folder / "run" / "report"))
    return str(folder / "run")


def report(run: str, redirection: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command as a user types it, with a shell's redirection."""
    command = f"set -o pipefail; '{sys.executable}' -m raykd.cli report '{run}' {redirection}"
    return subprocess.run(["bash", "-c", command], check=False, capture_output=True, env=os.environ | environment)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1", "COLUMNS": "0", "TERM": "dumb", "NO_COLOR": "1"},
        {"COLUMNS": "1", "FORCE_COLOR": "1"},
    ],
    ids=str,
)
def test_any_terminal_shows_the_table_and_the_verdict(run: str, environment: dict[str, str]) -> None:
    result = report(run, "", **environment)
    assert result.returncode == 0, result.stderr
    assert b"Traceback" not in result.stderr
    output = result.stdout.decode("latin-1")
    assert "teacher" in output
    assert "3 seeds each" in output
    assert max(map(len, output.splitlines())) > 60
    if environment.get("PYTHONIOENCODING") == "ascii":
        assert result.stdout.isascii()
        assert "gr??e" in output
        assert "+-" in output


@pytest.mark.parametrize(
    ("redirection", "code"),
    [(">&-", 0), (">&- 2>&- <&-", 0), ("2>/dev/full", 0), ("| head -c 1", 0), (">/dev/full", 2)],
)
def test_closed_and_full_output_ends_without_a_traceback(run: str, redirection: str, code: int) -> None:
    result = report(run, redirection)
    assert result.returncode == code, result.stderr
    assert b"Traceback" not in result.stderr
    assert b"Exception" not in result.stderr
    if redirection == ">/dev/full":
        assert b"raykd: standard output cannot be written: No space left on device" in result.stderr


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "no such backend"])
def test_pictures_are_drawn_whatever_the_environment_says(run: str, backend: str) -> None:
    code = (
        "import os, sys\nfrom raykd.report.files import read_report\nfrom raykd.report.html import html\n"
        "page = html(read_report(sys.argv[1]))\nprint(page.count('data:image/svg+xml'), os.environ['MPLBACKEND'])"
    )
    environment = os.environ | {"MPLBACKEND": backend}
    command = [sys.executable, "-c", code, f"{run}/report"]
    result = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == f"3 {backend}"


def test_a_picture_that_cannot_be_drawn_leaves_the_page(invent: Invent, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> str:
        raise RuntimeError("no <fonts>")

    monkeypatch.setattr(plots, "metric_plot", broken)
    page = html.html(invent(rows=50))
    assert "cannot be drawn (no &lt;fonts&gt;)" in page
    assert page.count("data:image/svg+xml") == 2


def test_a_page_that_cannot_be_made_leaves_the_report(
    invent: Invent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> str:
        raise RuntimeError("no style")

    monkeypatch.setattr(html, "page", broken)
    comparison = invent(rows=50)
    write_report(comparison, str(tmp_path))
    assert read_report(str(tmp_path)) == comparison
    assert (tmp_path / "report.md").exists()
    assert "report.html cannot be made (RuntimeError: no style)" in caplog.text
