"""Small files, models and shell commands for EasyNLP's flows."""

import random
import subprocess
from pathlib import Path

SCRIPTS = Path(__file__).parent / "assets" / "easynlp"
META_SCRIPTS = SCRIPTS.parent / "metakd"
REVIEW_FOLDERS = ("books", "dvd", "electronics", "kitchen_&_housewares")
WORDS = {"1": ("good", "great", "fine", "lovely"), "0": ("bad", "awful", "poor", "sad")}
FILLERS = ("the", "a", "plot", "film", "end", "was", "is", "very", "it", "and", "one", "scene", "with", "of")
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *FILLERS, *WORDS["0"], *WORDS["1"])


def meta_commands(name: str, models: dict[str, str]) -> list[list[str]]:
    """The arguments of Meta-KD's commands, without ``easynlp`` itself."""
    return [arguments[1:] for arguments in commands(str(META_SCRIPTS / f"{name}.sh"), models)]


def commands(script: str, environment: dict[str, str]) -> list[list[str]]:
    """The arguments of every ``raykd`` of a shell script, as the shell passes them on."""
    stub = "raykd() { printf '%s\\0' \"$@\"; printf '\\001\\0'; }; set -eu; source \"$0\""
    done = subprocess.run(
        ["bash", "-c", stub, str(SCRIPTS / script)], env=environment, capture_output=True, text=True, check=True
    )
    blocks = done.stdout.split("\1\0")
    return [block.split("\0")[:-1] for block in blocks if block]


def as_flags(**values: object) -> list[str]:
    """``--name=value`` for each value, ``--name`` for True; None leaves the flag out."""
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in values.items() if value is not None]


def scoring_flags(mode: str, table: object, folder: object, **changes: object) -> list[str]:
    """Flags that score a file of SST-2's columns with the model in a folder."""
    values = {"tables": table, "checkpoint_dir": folder, "input_schema": "sent:str:1,label:str:1", "first_sequence": "sent"}
    return as_flags(**{"mode": mode, **values, "sequence_length": 32, **changes})


def environment(folder: Path, world: dict[str, str], kind: str) -> dict[str, str]:
    """Variables of the scripts: files of ``world`` of one kind (sst2 or mrpc), results in ``folder``."""
    teacher, student = folder / "results" / "teacher", folder / "results" / "student"
    return {
        "TRAIN": world[f"{kind}_train"],
        "DEV": world[f"{kind}_dev"],
        "TEACHER_MODEL": world["teacher"],
        "STUDENT_MODEL": world["student"],
        "TEACHER_CKPT": str(teacher),
        "STUDENT_CKPT": str(student),
        "LOGITS_PATH": str(teacher / "logits.tsv"),
        "PREDICTIONS": str(folder / "student_pred.tsv"),
    }


def make_world(folder: Path, *, train_rows: int = 130, dev_rows: int = 161) -> dict[str, str]:
    """Both data sets in EasyNLP's columns, more dev than training rows, and two models of one layer."""
    world = {
        "teacher": save_model(folder / "teacher", hidden=32, seed=1),
        "student": save_model(folder / "student", hidden=16, seed=2),
    }
    for kind, write in (("sst2", sst2_rows), ("mrpc", mrpc_rows)):
        for part, count, seed in (("train", train_rows, 1), ("dev", dev_rows, 2)):
            path = folder / f"{kind}_{part}.tsv"
            path.write_text("".join(write(count, seed)))
            world[f"{kind}_{part}"] = str(path)
    return world


def sst2_rows(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    labels = [draw.choice("01") for _ in range(count)]
    return [f"{_sentence(draw, label)}\t{label}\n" for label in labels]


def mrpc_rows(count: int, seed: int) -> list[str]:
    """Pairs of one polarity (1) or two (0); ids are six digits."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        label, polarity = draw.choice("01"), draw.choice("01")
        other = polarity if label == "1" else "10"[int(polarity)]
        rows.append(f"{label}\t{700000 + index}\t{800000 + index}\t{_sentence(draw, polarity)}\t{_sentence(draw, other)}\n")
    return rows


def write_reviews(folder: Path, *, count: int = 20) -> None:
    """``data/sorted_data_acl`` in a folder: ``count`` positive and negative reviews of four domains."""
    draw = random.Random(5)
    for domain in REVIEW_FOLDERS:
        for polarity, name in (("1", "positive"), ("0", "negative")):
            path = folder / "data" / "sorted_data_acl" / domain / f"{name}.review"
            path.parent.mkdir(parents=True, exist_ok=True)
            texts = [f"{domain[:4]} {number} {_sentence(draw, polarity)}" for number in range(count)]
            path.write_text("".join(f"<review>\n<review_text>\n{text}\n</review_text>\n</review>\n" for text in texts))


def _sentence(draw: random.Random, polarity: str) -> str:
    words = [draw.choice(FILLERS) for _ in range(draw.randint(1, 10))] + draw.sample(WORDS[polarity], k=2)
    draw.shuffle(words)
    return " ".join(words)


def save_model(folder: Path, *, hidden: int, seed: int, labels: tuple[str, ...] = ("0", "1"), head: bool = False) -> str:
    """A BERT of one layer; without ``head`` as it comes from pretraining."""
    from transformers import BertTokenizerFast

    from raykd.models import ModelShape, build_classifier, save_classifier

    tokenizer = BertTokenizerFast(vocab={word: index for index, word in enumerate(VOCABULARY)}, model_max_length=128)
    shape = ModelShape(vocab_size=len(VOCABULARY), hidden=hidden, layers=1, heads=2, positions=128)
    model = build_classifier(shape, labels=labels, seed=seed)
    save_classifier(model if head else model.bert, tokenizer, str(folder))
    return str(folder)
