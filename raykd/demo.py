"""Folder of ``raykd demo``: generated reviews, a pretrained teacher, a small student with random weights, and their job file.

The folder has ``train.tsv``, ``validation.tsv``, ``test.tsv``, ``teacher/``, ``student/`` and ``job.yaml``. The training rows
are few and their labels noisy; the teacher comes pretrained on other reviews, as the large models of a hub do. So its outputs
have more information about a row than the row's label, which distillation passes on.
"""

import json
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any

import torch

from raykd.config import ComputeConfig, FineTuneConfig, TorchEngineConfig, TrainingConfig
from raykd.data import storage, synthetic
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.step_stream import local_feed
from raykd.errors import ConfigError
from raykd.models import ModelShape, build_classifier, save_classifier
from raykd.run.task import TaskInputs, TaskLabels, make_task, model_folder
from raykd.run.train_task import run_task
from raykd.task_kinds import SINGLE_LABEL
from raykd.trainers.context import local_context

log = logging.getLogger(__name__)

TRAIN_ROWS, VALIDATION_ROWS, TEST_ROWS, SEED = 3000, 1000, 2000, 7
PRETRAIN_ROWS, PRETRAIN_EPOCHS = 12_000, 3
"""Rows of the teacher's pretraining: enough to learn the words, their strength, and the effect of a negation."""
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SIZES = {"teacher": (64, 2, 4), "student": (32, 1, 2)}
"""Hidden size, layers and heads of both models."""
POSITIONS = 64
INITIALIZER_RANGE = 0.05
"""BERT's own 0.02 leaves models as narrow as these at chance for hundreds of steps."""


JOB = "job.yaml"
"""Name of the demo's job file in its folder."""
UNFINISHED = ".unfinished"
"""Suffix of the folder while it is written."""


def make_demo(folder: str, *, print_line: Callable[[str], None]) -> str:
    """Make the demo's folder, unless it is there, and return the path of its job file.

    Raises ConfigError for a folder with other files, or one that a job file cannot name; ResourceError when it cannot be
    written.
    """
    if "://" in folder or re.search(r"[*?[\]]", folder):
        raise ConfigError(f"--folder {folder}: give a folder of this machine, with none of * ? [ ] in its name")
    folder = os.path.normpath(folder)
    job = os.path.join(folder, JOB)
    if os.path.isfile(job):
        print_line(f"demo: {folder} is there, with its job {job}")
        return job
    if os.path.exists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise ConfigError(f"--folder {folder} exists and has no {JOB} of the demo; give a folder that does not exist")
    print_line(
        f"demo: making reviews and a pretrained teacher in {folder}; a quarter of the training labels is wrong on purpose"
    )
    unfinished = folder + UNFINISHED
    storage.remove(unfinished)
    build(unfinished)
    storage.write_bytes(os.path.join(unfinished, JOB), job_text(folder).encode())
    if os.path.isdir(folder):
        os.rmdir(folder)
    storage.rename_dir(unfinished, folder)
    return job


def job_text(folder: str) -> str:
    """The demo's job file, with data and models in ``folder``."""
    text = files("raykd").joinpath("demo_job.yaml").read_text(encoding="utf-8")
    settings = re.sub(r"\A(?:#.*\n)+", "", text)
    job = os.path.join(folder, JOB)
    header = f"# Made by raykd demo. With another value:\n#   raykd run {job} --set student.objective.temperature=4\n"
    return header + re.sub(r"\bdemo/([\w.]+)", lambda found: _yaml_text(os.path.join(folder, found[1])), settings)


def _yaml_text(value: str) -> str:
    """A text as YAML, in quotes where it needs them."""
    return value if re.fullmatch(r"[\w.][\w./-]*|/[\w./-]+", value) else json.dumps(value)


def build(
    folder: str,
    *,
    train_rows: int = TRAIN_ROWS,
    validation_rows: int = VALIDATION_ROWS,
    test_rows: int = TEST_ROWS,
    pretrain_rows: int = PRETRAIN_ROWS,
    seed: int = SEED,
) -> None:
    """Write the demo's data and models. Raises ResourceError when the folder cannot be written."""
    files = synthetic.write(folder, train_rows=train_rows, validation_rows=validation_rows, test_rows=test_rows, seed=seed)
    before = storage.join(folder, "pretrain.tsv")
    synthetic.write_pretraining(before, rows=pretrain_rows, seed=seed + 1, unlike=files)
    texts = [line.split("\t")[0] for file in (files[0], before) for line in storage.read_bytes(file).decode().splitlines()]
    tokenizer = make_tokenizer(texts)
    for index, (name, (hidden, layers, heads)) in enumerate(SIZES.items()):
        shape = ModelShape(
            vocab_size=len(tokenizer), hidden=hidden, layers=layers, heads=heads, positions=POSITIONS, dropout=0.0,
            initializer_range=INITIALIZER_RANGE,
        )  # fmt: skip
        model = build_classifier(shape, labels=synthetic.LABELS, seed=seed + index)
        # the encoder alone: each training task draws a classifier from its own seed
        save_classifier(model.base_model, tokenizer, storage.join(folder, name))
    pretrain(folder, before, seed=seed)


def pretrain(folder: str, rows: str, *, seed: int) -> None:
    """Train the model ``teacher`` of the folder on ``rows``, in this process, and replace it with the result."""
    teacher = storage.join(folder, "teacher")
    spec = PrepareSpec(
        files=(rows,), input_schema=synthetic.INPUT_SCHEMA, first_sequence="text", second_sequence=None, label="label",
        skip_header=False,
        codec=SINGLE_LABEL.label_codec(synthetic.LABELS), sequence_length=POSITIONS, max_rejected_rows=0, tokenizer=teacher,
        keep=None,
    )  # fmt: skip
    cache = storage.join(folder, "cache")
    prepared = prepare(spec, cache)
    task = make_task(
        name="pretraining",
        folder=storage.join(folder, "pretraining"),
        model=model_folder(teacher),
        labels=TaskLabels(synthetic.LABELS),
        inputs=TaskInputs(prepared, None),
        objective=FineTuneConfig(),
        training=TrainingConfig(epochs=PRETRAIN_EPOCHS, batch_size=32, learning_rate=1e-3),
        seed=seed,
        compute=ComputeConfig(engine=TorchEngineConfig(), precision="fp32"),
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a model this small only loses time to a second thread
    try:
        with local_context() as context:
            run_task(task, context, build_feed=local_feed)
    finally:
        torch.set_num_threads(threads)
    storage.remove(teacher)
    storage.rename_dir(task.model_folder, teacher)
    for path in (task.folder, cache):
        storage.remove(path)


def make_tokenizer(texts: Iterable[str]) -> Any:
    """A WordPiece tokenizer with one token for every word of ``texts``; other words are split into letters.

    Words are ranked by frequency, then alphabetically: the trainer of the tokenizers library breaks ties differently each time.
    """
    from transformers import BertTokenizer

    counts = Counter(word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower()))
    letters = sorted({letter for word in counts for letter in word})
    words = sorted(counts, key=lambda word: (-counts[word], word))
    tokens = dict.fromkeys([*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words])
    return BertTokenizer(vocab={token: index for index, token in enumerate(tokens)}, do_lower_case=True)
