"""docs/extending.md names files that exist, and its examples of an objective and a reader work."""

import re
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from raykd.errors import DataError
from raykd.trainers.custom_objective import load_objective

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "extending.md").read_text()


def test_every_file_that_is_named_exists() -> None:
    named = re.findall(r"`((?:raykd|tests)/[\w/.]+)`( \(\*new\*\))?", PAGE)
    assert len(named) > 15
    assert not [path for path, new in named if (ROOT / path).exists() == bool(new)]


def test_each_part_touches_as_many_files_as_the_table_says() -> None:
    for title, most in {"Logit loss": 4, "Feature loss": 4, "Task kind": 3, "Engine": 3, "Tracker": 3, "Reader": 3}.items():
        section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
        steps = re.findall(r"^\d\. .*?`(raykd/[\w/.]+)`", section, flags=re.M)
        assert len(set(steps)) == most, title


@pytest.mark.parametrize("weight", [0.0, 0.9])
def test_the_example_of_a_custom_objective_works(weight: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "extending_example.py").write_text(re.search(r"```python\n(from dataclasses.*?)```", PAGE, flags=re.S)[1])
    monkeypatch.syspath_prepend(tmp_path)
    objective = load_objective("extending_example:CosineKD", {"weight": weight})
    sys.modules.pop("extending_example")

    class Batch:
        teacher_logits = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
        labels = torch.tensor([0, 1])
        valid = torch.tensor([True, True])

        def model_inputs(self) -> dict[str, torch.Tensor]:
            return {}

    class Model:
        def __call__(self) -> object:
            return type("Output", (), {"logits": torch.tensor([[2.0, 0.0], [1.0, -1.0]])})()

    terms = objective(Model(), Batch()).terms  # type: ignore[arg-type]  # stand-ins with what it reads
    torch.testing.assert_close(terms["kd_cosine"], weight * torch.tensor([0.0, 1.0]), atol=1e-6, rtol=0)
    assert terms["ce"].shape == (2,)


def test_the_example_of_a_reader_works() -> None:
    names: dict[str, type] = {}
    exec(
        textwrap.dedent(
            re.search(r"```python\n( +from collections.abc import Sequence.*?FastTextReader.*?)```", PAGE, flags=re.S)[1]
        ),
        names,
    )
    reader = names["FastTextReader"]()
    assert reader.names_columns
    assert reader.cells("__label__1 good film", ("text", "label")) == ["good film", "1"]
    for line in ("good", "__label__1", "", "good film"):
        with pytest.raises(DataError, match="does not begin with __label__NAME"):
            reader.cells(line, ("text", "label"))
    reader.check("a.ft", ("text",))
    with pytest.raises(DataError, match=r"a\.ft has the columns label and text"):
        reader.check("a.ft", ("txt",))
