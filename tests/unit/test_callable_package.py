"""Packages that are functions too, whichever is imported first."""

import inspect
import subprocess
import sys

import pytest

import raykd
from raykd.api.jobs import run
from raykd.api.search import tune
from raykd.callable_package import FUNCTIONS


@pytest.mark.parametrize(
    "code",
    [
        "import raykd; raykd.run(3)",
        "import raykd.run.task; raykd.run(3)",
        "from raykd.run import task; import raykd; raykd.run(3)",
        "from raykd import run; run(3)",
        "import raykd.tune.trial_text; raykd.tune(3)",
        "import raykd.run.task as task, raykd; task.run_folder; raykd.run(3)",
    ],
)
def test_a_package_is_callable_in_any_order_of_imports(code: str) -> None:
    program = f"import raykd\ntry:\n    exec({code!r})\nexcept raykd.ConfigError as error:\n    print(error)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert result.stdout.startswith("the job is of type int; give the path of a job file"), result.stderr


def test_the_signature_is_the_functions() -> None:
    assert inspect.signature(raykd.run) == inspect.signature(run)
    assert inspect.signature(raykd.tune) == inspect.signature(tune)
    assert set(FUNCTIONS) == {"raykd.run", "raykd.tune"}
