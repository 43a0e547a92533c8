"""Fixtures every test may use: one local Ray, a small experiment, and the real data and models where they are."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from raykd.config import ExperimentConfig, build, merge

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# no test depends on the speed of the machine
settings.register_profile("raykd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("raykd")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _shared(folder: str) -> Path:
    path = SHARED / folder
    if not path.is_dir():
        pytest.skip(f"{path} is absent: real {folder} for tests lie beside the checkout")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    return _shared("data")


@pytest.fixture(scope="session")
def shared_models() -> Path:
    return _shared("models")


@pytest.fixture(scope="session")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Ray for the whole run, started as raykd's own commands start it."""
    from raykd.session import start_ray, stop_ray

    start_ray(num_cpus=4)
    yield
    stop_ray()


WORDS = {"1": ("good", "great", "fine", "lovely"), "0": ("bad", "awful", "poor", "sad")}
FILLERS = ["the", "a", "plot", "film", "end", "was", "is", "very", "it", "and", "one", "scene", "with", "of"]


def write_rows(path: Path, count: int, seed: int) -> None:
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        label = draw.choice("01")
        words = [draw.choice(FILLERS) for _ in range(draw.randint(2, 14))] + draw.sample(WORDS[label], k=2)
        draw.shuffle(words)
        rows.append(f"{' '.join(words)}\t{label}\n")
    path.write_text("".join(rows))


def save_model(folder: Path, *, hidden: int, seed: int, architecture: str = "bert") -> str:
    from transformers import BertTokenizerFast

    from raykd.models import ModelShape, build_classifier, save_classifier

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *FILLERS, *WORDS["0"], *WORDS["1"]]
    tokenizer = BertTokenizerFast(vocab={word: index for index, word in enumerate(words)}, model_max_length=32)
    shape = ModelShape(architecture=architecture, vocab_size=len(words), hidden=hidden, layers=1, heads=2, positions=32)
    model = build_classifier(shape, labels=("0", "1"), seed=seed)
    save_classifier(model, tokenizer, str(folder))
    return str(folder)


@pytest.fixture(scope="session")
def new_model() -> Callable[..., str]:
    """Saves a model with fresh weights and its tokenizer; see :func:`save_model`."""
    return save_model


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Training and test rows, a teacher's and a student's initial model."""
    folder = tmp_path_factory.mktemp("world")
    write_rows(folder / "train.tsv", 400, seed=1)
    write_rows(folder / "test.tsv", 101, seed=2)
    return {
        "train": str(folder / "train.tsv"),
        "test": str(folder / "test.tsv"),
        "teacher": save_model(folder / "teacher", hidden=32, seed=1),
        "student": save_model(folder / "student", hidden=16, seed=2),
    }


@pytest.fixture
def experiment(small_world: dict[str, str], tmp_path: Path) -> Callable[..., ExperimentConfig]:
    """Builds the small experiment's configuration, changed by ``section__key=value``."""

    def make(**changes: Any) -> ExperimentConfig:
        training = {"epochs": 2, "batch_size": 16, "learning_rate": 5e-3, "log_every": 1}
        content = {
            "name": "small",
            "storage": str(tmp_path / "runs"),
            "data": {
                "input_schema": "text:str:1,label:str:1",
                "first_sequence": "text",
                "label": "label",
                **({} if "data__task" in changes else {"labels": ["0", "1"]}),
                "train": [small_world["train"]],
                "test": [small_world["test"]],
                "validation": 0.2,
                "sequence_length": 32,
            },
            "teacher": {"model": small_world["teacher"], "training": training},
            "student": {"model": small_world["student"], "training": training, "seeds": [1, 2]},
        }
        return build(merge(content, [(path.split("__"), value) for path, value in changes.items()]))

    return make
