"""The package itself: what its import loads, and its public names."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import raykd

HEAVY = {"torch", "ray", "pandas", "pyarrow", "transformers", "deepspeed", "numpy", "pydantic", "matplotlib", "rich", "yaml"}


def python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_import_loads_nothing_heavy() -> None:
    code = (
        "import sys; before = set(sys.modules); import raykd; dir(raykd); new = set(sys.modules) - before; print(*sorted(new))"
    )
    loaded = python(code).split()
    assert not HEAVY & set(loaded)
    assert [name for name in loaded if name.startswith("raykd")] == ["raykd"]
    assert len(loaded) < 40


@pytest.mark.parametrize(
    "code",
    [
        "import raykd; raykd.run, raykd.tune, raykd.shrink, raykd.export",
        "import raykd; raykd.load_run, raykd.RunResult, raykd.SearchResult, raykd.TrainedModel",
    ],
)
def test_a_function_loads_neither_torch_nor_ray(code: str) -> None:
    assert python(f"{code}; import sys; print(*sorted({{'torch', 'ray', 'pandas', 'transformers'}} & set(sys.modules)))") == ""


def test_types_are_declared_for_every_public_name() -> None:
    folder = Path(raykd.__file__).parent
    assert (folder / "py.typed").is_file()
    stub = ast.parse((folder / "__init__.pyi").read_text())
    declared = {name.asname for node in stub.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert declared | {"__version__"} == set(raykd.__all__)
    (listed,) = (node.value for node in stub.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
    assert ast.literal_eval(listed) == raykd.__all__
    assert all(getattr(raykd, name) is not None for name in raykd.__all__)
    assert set(raykd.__all__) <= set(dir(raykd))


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="module 'raykd' has no attribute 'rum'"):
        raykd.rum  # type: ignore[attr-defined]  # noqa: B018
    assert inspect.ismodule(raykd.run)
