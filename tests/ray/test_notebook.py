"""The notebook of the documents, executed in a kernel."""

import os
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


@pytest.mark.ray
@pytest.mark.long
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="pip install nbclient ipykernel")
    pytest.importorskip("ipykernel", reason="pip install nbclient ipykernel")
    import nbformat

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(NOTEBOOK.parents[1]), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "the notebook is stored without outputs"
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    progress, table, frame, plot, answers, again, error = [cell.outputs for cell in cells[2:]]
    assert "s after the call" in text(progress)
    assert "report.html" in text(progress)
    assert "<td>student, KD</td>" in table[0].data["text/html"]
    assert "accuracy_sd" in frame[0].data["text/html"]
    assert "<svg" in plot[0].data["image/svg+xml"]
    assert "score" in answers[-1].data["text/plain"]
    assert "report: finished before, skipped" in text(again)
    assert again[-1].data["text/plain"] == "True"
    assert text(error) == "the job: unknown key student.objective.temprature; did you mean temperature?\n"


def text(outputs: list[Any]) -> str:
    """All text of a cell's streams."""
    return "".join(one.text for one in outputs if one.output_type == "stream")
