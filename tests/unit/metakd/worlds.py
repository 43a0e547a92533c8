"""Small multi-domain rows, models and sets that the tests of Meta-KD share."""

import random
from pathlib import Path
from typing import Any

import numpy as np

from raykd.config import MetaKDConfig
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.side_tables import SideTable, commit, logits_array, write_part
from raykd.data.splits import HashRange
from raykd.data.tokenised_set import TokenisedSet
from raykd.models import ModelShape, build_classifier, save_classifier
from raykd.stage_names import SPLITS
from raykd.task_kinds import SINGLE_LABEL

DOMAINS = ("books", "dvd", "kitchen")
LABELS = ("negative", "positive")
WORDS = {"positive": ("good", "great", "fine", "lovely"), "negative": ("bad", "awful", "poor", "sad")}
FILLERS = ["the", "a", "plot", "film", "end", "was", "is", "very", "it", "and", "one", "scene", "with", "of", *DOMAINS]
SCHEMA = "text:str:1,domain:str:1,label:str:1"


def write_rows(path: Path, count: int, *, seed: int, domains: tuple[str, ...] = DOMAINS) -> Path:
    """`text<TAB>domain<TAB>label` lines, domains and labels in turn."""
    draw = random.Random(seed)
    lines = []
    for number in range(count):
        label, domain = LABELS[(number // len(domains)) % 2], domains[number % len(domains)]
        words = [draw.choice(FILLERS) for _ in range(draw.randint(2, 14))] + draw.sample(WORDS[label], k=2) + [domain]
        draw.shuffle(words)
        lines.append(f"{' '.join(words)}\t{domain}\t{label}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return path


def job_content(folder: Path, *, teacher: str, student: str) -> dict[str, Any]:
    """A job's sections without settings, on the files of each split in ``folder``; its runs lie there too."""
    return {
        "kind": "meta_kd",
        "name": "small",
        "storage": str(folder / "runs"),
        "data": {
            "input_schema": SCHEMA,
            "first_sequence": "text",
            "label": "label",
            "domain": "domain",
            **{split: [str(folder / f"{split}.tsv")] for split in SPLITS},
        },
        "domains": list(DOMAINS),
        "sequence_length": 32,
        "teacher": {"model": teacher},
        "student": {"model": student},
    }


def save_model(
    folder: Path, *, hidden: int, layers: int = 2, heads: int = 2, seed: int = 1, extra: int = 0, positions: int = 32
) -> str:
    """A BERT folder with a tokenizer; `extra` words more make it another tokenizer."""
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *FILLERS, *WORDS["negative"], *WORDS["positive"]]
    words += [f"word{number}" for number in range(extra)]
    tokenizer = BertTokenizerFast(vocab={word: index for index, word in enumerate(words)}, model_max_length=32)
    shape = ModelShape(vocab_size=len(words), hidden=hidden, layers=layers, heads=heads, positions=positions)
    model = build_classifier(shape, labels=LABELS, seed=seed)
    save_classifier(model, tokenizer, str(folder))
    return str(folder)


def prepared_rows(files: list[str], model: str, cache: Path, keep: HashRange | None = None) -> TokenisedSet:
    spec = PrepareSpec(
        files=tuple(files), input_schema=SCHEMA, first_sequence="text", second_sequence=None, label="label",
        codec=SINGLE_LABEL.label_codec(LABELS),
        skip_header=False, sequence_length=32, max_rejected_rows=0, tokenizer=model, keep=keep, extra_columns=("domain",),
    )  # fmt: skip
    return prepare(spec, str(cache))


def side_of(prepared: TokenisedSet, folder: Path, column: str, values: np.ndarray[Any, Any]) -> SideTable:
    """A side table of `values` `[N, H]`, in row order."""
    tables, start = [], 0
    for group, rows in enumerate(prepared.group_rows):
        names = prepared.read_group(group, ["shard", "row"])
        tables.append(names.append_column(column, logits_array(values[start : start + rows])))
        start += int(rows)
    return commit(str(folder), prepared, [write_part(str(folder), 0, tables)], [column], {})


def make_config(tmp_path: Path, **student: Any) -> MetaKDConfig:
    """A job on small rows and models; ``student`` replaces settings of its student."""
    for part, (count, seed) in {"train": (90, 1), "validation": (30, 2), "test": (60, 3)}.items():
        write_rows(tmp_path / f"{part}.tsv", count, seed=seed)
    small = save_model(tmp_path / "student", hidden=8, layers=1, heads=1, seed=2)
    content = job_content(tmp_path, teacher=save_model(tmp_path / "teacher", hidden=16), student=small)
    training = {"training": {"epochs": 1, "batch_size": 16, "learning_rate": 5e-3}}
    content["teacher"] |= training
    content["student"] |= {"domains": ["dvd"], "seeds": [1, 2], "intermediate": training, "prediction": training} | student
    return MetaKDConfig.model_validate(content | {"compute": {"engine": {"kind": "torch"}}})
