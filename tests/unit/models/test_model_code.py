"""The shared modelling code is imported once, without scipy, and leaves transformers and the collector as they were."""

import gc
import subprocess
import sys

from transformers import utils

from raykd.models.model_code import import_model_code

PROGRAM = """
import sys
from raykd.models.new_classifier import ModelShape, build_classifier
shape = ModelShape(vocab_size=20, hidden=8, layers=1, heads=2)
build_classifier(shape, labels=("a", "b"), seed=1)
from transformers import utils
print(sorted({"scipy", "sklearn"} & set(sys.modules)), utils.is_scipy_available())
"""


def test_the_first_model_of_a_process_imports_no_scipy() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split("\n")[-2] == "[] True"


def test_nothing_is_left_changed() -> None:
    found = utils.is_scipy_available
    import_model_code()
    assert utils.is_scipy_available is found
    assert gc.isenabled()
