"""A small trained-looking classifier, its settings, and a service over it."""

import shutil

import pytest

from raykd.models import ModelShape, build_classifier, load_tokenizer, save_classifier
from raykd.models.model_settings import ModelSettings, write_settings
from raykd.serve.served_model import ServedModel
from tests.unit.report.conftest import invent

__all__ = ["invent"]


def save_model(folder, source, *, labels=("bad", "good"), seed=1, kind=None, settings=None, layers=1):
    """A classifier with large random weights, so that rows differ."""
    from raykd.task_kinds import task_kind, write_task_kind

    tokenizer = load_tokenizer(source)
    shape = ModelShape(vocab_size=len(tokenizer), hidden=16, layers=layers, heads=2, positions=32, initializer_range=0.5)
    model = build_classifier(shape, labels=labels, seed=seed)
    if kind is not None:
        write_task_kind(model.config, task_kind(kind))
    save_classifier(model, tokenizer, str(folder))
    write_settings(str(folder), settings or ModelSettings(32, 1.0, None))
    return str(folder)


@pytest.fixture(scope="session")
def served_folder_path(small_world, tmp_path_factory):
    """A model folder that no test changes."""
    folder = tmp_path_factory.mktemp("served") / "model"
    return save_model(folder, small_world["student"], settings=ModelSettings(32, 2.0, 0.7))


@pytest.fixture(scope="session")
def served(served_folder_path):
    return ServedModel.load(served_folder_path)


@pytest.fixture
def copied(served_folder_path, tmp_path):
    """A copy of the folder to change."""
    return shutil.copytree(served_folder_path, tmp_path / "model")
