"""A distillation as users of other packages write it; :mod:`benchmarks.peers` runs this file with those packages installed.

    python peer_programs.py KIND --train FILE --test FILE --teacher DIR --student DIR [--epochs 1 3] [--seeds 1] [--plain]
        [--labelled FILE] [--layers 0 2 4] [--rates 1e-4 5e-4] [--length 128]

KIND: ``trainer-online`` and ``trainer-cached`` are Hugging Face's Trainer with a distillation loss, the teacher run in every
step or once before; batches are grouped by length. ``trainer-cached-bf16`` has its option ``bf16`` set. ``textbrewer-dynamic``
and ``textbrewer-static`` are TextBrewer's GeneralDistiller with rows padded to their batch or to the longest text allowed. The
teacher is fine-tuned by the Trainer.
``--plain`` also trains every seed without a teacher. With ``--labelled`` the teacher learns from those rows alone, and students
from its logits on ``--train``, whose labels they do not read. Prints the accuracies as JSON. Knows nothing of raykd.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

BATCH = 32
TEMPERATURE, ALPHA = 2.0, 0.9
KINDS = ("trainer-online", "trainer-cached", "trainer-cached-bf16", "textbrewer-dynamic", "textbrewer-static")
Rows = list[dict[str, Any]]


def main() -> None:
    """Fine-tune, distil, evaluate, print."""
    options = _options()
    tokenizer = AutoTokenizer.from_pretrained(options.teacher)
    static = options.kind == "textbrewer-static"
    train, test, labelled = (
        _rows(tokenizer, path, length=options.length, static=static)
        for path in (options.train, options.test, options.labelled or options.train)
    )
    work = Work(tokenizer, train, test, bf16=options.kind.endswith("bf16"))
    teacher = work.fit(_model(options.teacher), labelled, seed=1, epochs=options.epochs[0], rate=options.rates[0])
    accuracies: dict[str, Any] = {"teacher": work.accuracy(teacher), "student": [], "plain": []}
    if options.kind.startswith("trainer-cached"):
        for row, logits in zip(train, work.logits(teacher, train), strict=True):
            row["teacher_logits"] = logits
    for seed in options.seeds:
        student = _distilled(options, work, teacher, seed)
        accuracies["student"].append(work.accuracy(student))
        if options.plain:
            plain = [{key: value for key, value in row.items() if key != "teacher_logits"} for row in train]
            student = work.fit(_student(options), plain, seed=seed, epochs=options.epochs[1], rate=options.rates[1])
            accuracies["plain"].append(work.accuracy(student))
    sys.stdout.write(json.dumps(accuracies) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    for name in ("train", "test", "teacher", "student"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--epochs", type=int, nargs=2, default=(1, 3), help="of the teacher, of a student")
    parser.add_argument("--seeds", type=int, nargs="+", default=(1,))
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--labelled", help="rows that the teacher learns from; all of --train unless given")
    parser.add_argument("--layers", type=int, nargs="+", help="encoder layers of the student's model to keep; all unless given")
    parser.add_argument(
        "--rates", type=float, nargs=2, default=(1e-4, 5e-4), help="learning rates of the teacher, of a student"
    )
    parser.add_argument("--length", type=int, default=128, help="tokens of a row at most")
    options = parser.parse_args()
    if options.labelled and not options.kind.startswith("textbrewer"):
        parser.error("--labelled is for textbrewer-dynamic and textbrewer-static")
    return options


def _rows(tokenizer: Any, path: str, *, length: int, static: bool) -> Rows:
    lines = [line.split("\t") for line in Path(path).read_text(encoding="utf-8").split("\n") if line]
    padding = "max_length" if static else False
    tokens = tokenizer([text for text, _ in lines], truncation=True, max_length=length, padding=padding)
    keys = ("input_ids", "attention_mask")
    return [{key: tokens[key][index] for key in keys} | {"labels": int(label)} for index, (_, label) in enumerate(lines)]


def _model(folder: str) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, dtype=torch.float32)


def _student(options: argparse.Namespace) -> Any:
    """The student's model, or a BERT with some of its layers."""
    model = _model(options.student)
    if options.layers is not None:
        layers = model.bert.encoder.layer
        model.bert.encoder.layer = torch.nn.ModuleList([layers[index] for index in options.layers])
        model.config.num_hidden_layers = len(options.layers)
    return model


def distillation_loss(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """``alpha T^2 KL + (1 - alpha) CE``, means over rows."""
    soft = F.kl_div(
        F.log_softmax(student / TEMPERATURE, -1),
        F.log_softmax(teacher / TEMPERATURE, -1),
        reduction="batchmean",
        log_target=True,
    )
    return ALPHA * TEMPERATURE**2 * soft + (1 - ALPHA) * F.cross_entropy(student, labels)


class KDTrainer(Trainer):  # type: ignore[misc]
    """Hugging Face's Trainer with :func:`distillation_loss`; the teacher's logits are in the rows, or it is run."""

    teacher: Any = None

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        """Loss of a batch."""
        labels, cached = inputs.pop("labels"), inputs.pop("teacher_logits", None)
        outputs = model(**inputs)
        if cached is None and self.teacher is not None and model.training:
            with torch.no_grad():
                cached = self.teacher(**inputs).logits
        loss = F.cross_entropy(outputs.logits, labels) if cached is None else distillation_loss(outputs.logits, cached, labels)
        return (loss, outputs) if return_outputs else loss


class Work:
    """The rows, and what every program does with them."""

    def __init__(self, tokenizer: Any, train: Rows, test: Rows, *, bf16: bool = False) -> None:
        self.train, self.test, self.bf16 = train, test, bf16
        self.collate = DataCollatorWithPadding(tokenizer)

    def fit(self, model: Any, rows: Rows, *, seed: int, epochs: int, rate: float, teacher: Any = None) -> Any:
        """Train a model with Hugging Face's Trainer."""
        set_seed(seed)
        with tempfile.TemporaryDirectory() as folder:
            trainer = KDTrainer(
                model=model, args=_arguments(folder, seed=seed, epochs=epochs, rate=rate, bf16=self.bf16),
                train_dataset=rows, data_collator=self.collate,
            )  # fmt: skip
            trainer.teacher = teacher
            trainer.train()
        return model.eval()

    def logits(self, model: Any, rows: Rows) -> "np.ndarray[Any, Any]":
        """Logits of rows, sorted by length for the forward passes, ``[N, C]``."""
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]["input_ids"]))
        found = np.zeros((len(rows), 2), np.float32)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            for first in range(0, len(order), 64):
                batch = self.collate(
                    [{k: v for k, v in rows[i].items() if k != "teacher_logits"} for i in order[first : first + 64]]
                )
                batch.pop("labels")
                found[order[first : first + 64]] = model(**batch).logits.float().numpy()
        return found

    def accuracy(self, model: Any) -> float:
        """Accuracy on the test rows."""
        labels = np.array([row["labels"] for row in self.test])
        return float((self.logits(model.eval(), self.test).argmax(1) == labels).mean())


def _arguments(folder: str, *, seed: int, epochs: int, rate: float, bf16: bool) -> TrainingArguments:
    return TrainingArguments(
        folder, num_train_epochs=epochs, per_device_train_batch_size=BATCH, learning_rate=rate, warmup_steps=0.1,
        weight_decay=0.01, train_sampling_strategy="group_by_length", save_strategy="no", report_to="none", seed=seed,
        bf16=bf16, use_cpu=True, disable_tqdm=True, remove_unused_columns=False, dataloader_pin_memory=False,
    )  # fmt: skip


def _distilled(options: argparse.Namespace, work: Work, teacher: Any, seed: int) -> Any:
    student, epochs, rate = _student(options), options.epochs[1], options.rates[1]
    if options.kind.startswith("trainer"):
        live = teacher if options.kind == "trainer-online" else None
        return work.fit(student, work.train, seed=seed, epochs=epochs, rate=rate, teacher=live)
    alpha = 1.0 if options.labelled else ALPHA  # its losses weigh all rows alike, and most have no label
    return _with_textbrewer(student, teacher, work, seed=seed, epochs=epochs, rate=rate, alpha=alpha)


def _with_textbrewer(student: Any, teacher: Any, work: Work, *, seed: int, epochs: int, rate: float, alpha: float) -> Any:
    from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig  # type: ignore[import-not-found]
    from transformers import get_linear_schedule_with_warmup

    set_seed(seed)
    collate = lambda rows: dict(work.collate(rows))  # noqa: E731 (TextBrewer unpacks plain dicts alone)
    loader: Any = torch.utils.data.DataLoader(work.train, batch_size=BATCH, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]
    steps = len(loader) * epochs
    adapt = lambda batch, outputs: {"logits": outputs.logits, "losses": outputs.loss}  # noqa: E731, ARG005
    with tempfile.TemporaryDirectory() as folder:
        distiller = GeneralDistiller(
            TrainingConfig(device="cpu", output_dir=folder, log_dir=None, ckpt_frequency=0),
            DistillationConfig(temperature=TEMPERATURE, kd_loss_weight=alpha, hard_label_weight=1 - alpha, kd_loss_type="ce"),
            teacher, student, adapt, adapt,
        )  # fmt: skip
        with distiller:
            distiller.train(
                torch.optim.AdamW(student.parameters(), lr=rate, weight_decay=0.01),
                loader,
                epochs,
                scheduler_class=get_linear_schedule_with_warmup,
                scheduler_args={"num_warmup_steps": int(0.1 * steps), "num_training_steps": steps},
                max_grad_norm=1.0,
            )
    return student.eval()


if __name__ == "__main__":
    main()
