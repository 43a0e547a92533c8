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


DETECTION = """
import sys
from raykd.models.model_code import import_model_code
import_model_code()
assert "scipy" not in sys.modules
import torch
from transformers.loss.loss_for_object_detection import HungarianMatcher
outputs = {"logits": torch.zeros(1, 2, 3), "pred_boxes": torch.full((1, 2, 4), 0.5)}
targets = [{"class_labels": torch.tensor([1]), "boxes": torch.full((1, 4), 0.5)}]
print(len(HungarianMatcher()(outputs, targets)), "scipy" in sys.modules)
"""


def test_models_that_detect_objects_still_find_scipy_in_the_process() -> None:
    """They raised NameError in a notebook that had called raykd.run before."""
    done = subprocess.run([sys.executable, "-c", DETECTION], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split("\n")[-2] == "1 True"
