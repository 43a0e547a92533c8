"""The examples of docs/examples.md: their files, made longer by generated rows, their commands, and the output they show."""

import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.documents import ROOT
from tests.easynlp_world import FILLERS, WORDS

PAGE = ROOT / "docs" / "examples.md"
ROWS = 700
"""Generated rows of a file; a tenth, held out, is enough for a verdict."""
LIMIT_S = 900
"""Seconds of one command; several Ray programs may share the machine."""
HUB_MODELS = {"bert-base-uncased": 32, "google/bert_uncased_L-2_H-128_A-2": 16}
"""Hidden size of the stand-in for each classifier that the page names."""
CAUSAL_MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
BASE = "A CSV file and two models"
USES_BASE = ("A search", "A finished student")
"""Examples in the folder of another one."""
FIRST_GENERATED = 1000
"""Number of the first generated row, in the ids of rows."""
_SECTION = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.M | re.S)
_BLOCK = re.compile(r"(?:^[^`\n]*`(?P<file>[\w./-]+)`[^\n]*:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
_FRAME = re.compile(r"[\u2500-\u257f]+")
_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d[\d,.]*")


@dataclass(frozen=True)
class Step:
    """A block of an example: a file, commands, or lines of the output of the commands before it."""

    file: str | None
    language: str
    text: str


def examples() -> dict[str, list[Step]]:
    """The blocks of each section of the page."""
    found = {}
    for title, body in _SECTION.findall(PAGE.read_text()):
        found[title] = [Step(one["file"], one["language"], one["text"]) for one in _BLOCK.finditer(body)]
    return found


def needed_by(title: str) -> list[Step]:
    """The blocks of the example whose results a section uses; [] for one that begins in a folder of its own."""
    return examples()[BASE] if title in USES_BASE else []


def write_files(steps: list[Step], folder: Path) -> None:
    """Write the files that an example shows; those of rows begin with the rows shown."""
    draw = random.Random(3)
    for step in steps:
        if step.file is not None:
            numbers = range(FIRST_GENERATED, FIRST_GENERATED + ROWS) if step.language == "text" else ()
            (folder / step.file).write_text(step.text + "".join(_row(step, number, draw) for number in numbers))


def run_steps(steps: list[Step], folder: Path) -> None:
    """Run the commands of an example in a folder. Raises AssertionError for a command that fails, and a line not printed."""
    output = ""
    for step in steps:
        if step.language == "bash":
            output = _run(step.text, folder)
        elif step.file is None and step.language == "text":
            missing = [line for line in step.text.splitlines() if not is_printed(line, output)]
            assert not missing, f"{missing} not in\n{output}"


def is_printed(line: str, output: str) -> bool:
    """True when some line of the output has the line's shape: any numbers, any text for ``...``, frames and spaces apart."""
    words = _FRAME.sub(" ", line).split()
    pattern = r"\s+".join(_shape(word) for word in words)
    return not words or any(re.search(pattern, _FRAME.sub(" ", other)) for other in output.splitlines())


def _shape(word: str) -> str:
    parts = [_NUMBER.split(part) for part in word.split("...")]
    return ".*".join(r"[-+−]?[\d,.]+".join(map(re.escape, pieces)) for pieces in parts)


def _run(commands: str, folder: Path) -> str:
    """The output and errors of some commands, which have to succeed; what they started is ended with them."""
    kept = {name: value for name, value in os.environ.items() if name not in {"RAY_ADDRESS", "PYTHONPATH"}}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=folder, env={**kept, "PATH": path, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=LIMIT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output
    return output


def save_models(folder: Path, steps: list[Step]) -> None:
    """A tiny model in place of each model of the hub that an example mentions, in a folder of its name."""
    from raykd.demo import make_tokenizer
    from raykd.models import ModelShape, build_classifier, save_classifier
    from tests.causal_models import save_causal_model

    texts = [*FILLERS, *WORDS["0"], *WORDS["1"], "abcdefghijklmnopqrstuvwxyz0123456789", ". , : \" '"]
    tokenizer = make_tokenizer(texts)
    tokenizer.model_max_length = 128
    mentioned = "".join(step.text for step in steps)
    for seed, (name, hidden) in enumerate(HUB_MODELS.items()):
        if name in mentioned:
            shape = ModelShape(vocab_size=len(tokenizer), hidden=hidden, layers=1, heads=2, positions=128)
            model = build_classifier(shape, labels=("0", "1"), seed=seed)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            save_classifier(model.base_model, tokenizer, str(folder / name))
    if CAUSAL_MODEL in mentioned:
        save_causal_model(folder / CAUSAL_MODEL, chat=True)


def _sentence(number: int, draw: random.Random) -> tuple[str, bool]:
    """A text, and True for a positive one: by the number, so that several files agree on a row."""
    positive = bool(number * 7 // 3 % 2)
    words = [*draw.choices(FILLERS, k=6), *draw.sample(WORDS["1" if positive else "0"], k=2), *_digits(number)]
    draw.shuffle(words)
    return " ".join(words), positive


def _digits(number: int) -> Iterator[str]:
    """Words that make the text of each number its own."""
    while number:
        number, rest = divmod(number, len(FILLERS))
        yield FILLERS[rest]


def _row(step: Step, number: int, draw: random.Random) -> str:
    """The row of a number, in the form of the file that a step shows."""
    text, positive = _sentence(number + ROWS * (step.file == "texts.csv"), draw)
    label = "positive" if positive else "negative"
    match step.file:
        case "train.tsv" | "dev.tsv":
            return f"{text}\t{int(positive)}\n"
        case "answers.jsonl":
            return f'{{"id": "r-{number}", "top_logprobs": {{"{label}": -0.1, "other": -3.0}}}}\n'
        case "shots.jsonl":
            return ""
    cells = {"id": f"r-{number}", "review": f'"{text}, and"', "sentiment": label}
    return ",".join(cells[name] for name in step.text.split("\n", 1)[0].split(",")) + "\n"
