import subprocess
import sys

import pytest

PROGRAM = """
import sys, torch
from raykd.trainers.preload import preload
heavy = {"transformers", "transformers.modeling_utils", "deepspeed"}
print(*sorted(heavy & set(sys.modules)))
preload(deepspeed=DEEPSPEED, device=torch.device("cpu")).join()
print(*sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize("deepspeed", [True, False])
def test_what_a_first_training_imports_is_there(deepspeed: bool) -> None:
    program = PROGRAM.replace("DEEPSPEED", str(deepspeed))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    before, after = done.stdout.splitlines()[0], done.stdout.splitlines()[-1]
    assert before == ""
    assert after.split() == [*(["deepspeed"] if deepspeed else []), "transformers", "transformers.modeling_utils"]
