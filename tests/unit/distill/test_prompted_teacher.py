"""Language models as teachers: their logits against a plain loop over rows, and everything that is refused before a run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from raykd.config import CausalTeacherConfig, ExperimentConfig
from raykd.distill.prompted_teacher import prompted_teacher, read_shots
from raykd.errors import ConfigError, DataError, ModelError
from raykd.report.load_tables import load_logits
from raykd.report.markdown import markdown
from tests.causal_models import Kind, answer_logprob, save_causal_model
from tests.local_pipeline import LocalPipeline

SHORT = {"epochs": 1, "batch_size": 32, "learning_rate": 5e-3}
PROMPT = "Review: {text}\nSentiment:"
ANSWERS = {"0": " very bad", "1": " very good"}
SHOTS = [("what a lovely plot", "1"), ("a sad and {text} end", "0")]

MakeExperiment = Callable[..., ExperimentConfig]


def section(model: str, **changes: Any) -> dict[str, Any]:
    return {"kind": "causal_lm", "model": model, "prompt": PROMPT, "answers": ANSWERS, "batch_size": 7, **changes}


def write_shots(path: Path) -> str:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in SHOTS))
    return str(path)


def written_prompt(text: str, *, shots: bool, tokenizer: Any) -> str:
    """The prompt as a user of transformers writes it."""
    examples = SHOTS if shots else []
    if tokenizer.chat_template is None:
        before = "".join(f"Review: {one}\nSentiment:{ANSWERS[label]}\n\n" for one, label in examples)
        return before + f"Review: {text}\nSentiment:"
    messages = []
    for one, label in examples:
        messages += [
            {"role": "user", "content": f"Review: {one}\nSentiment:"},
            {"role": "assistant", "content": ANSWERS[label]},
        ]
    messages.append({"role": "user", "content": f"Review: {text}\nSentiment:"})
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def plain_logits(folder: str, texts: list[str], answers: dict[str, str], *, shots: bool, calibrated: bool) -> torch.Tensor:
    """``[N, C]`` by a loop over rows and answers, without batches, padding or cache."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    special = tokenizer.chat_template is None

    def scores(text: str) -> torch.Tensor:
        prompt = written_prompt(text, shots=shots, tokenizer=tokenizer)
        ids = tokenizer(prompt, add_special_tokens=special).input_ids
        each = [tokenizer(prompt + answer, add_special_tokens=special).input_ids[len(ids) :] for answer in answers.values()]
        return torch.tensor([answer_logprob(model, ids, one) for one in each]).log_softmax(0)

    logits = torch.stack([scores(text) for text in texts])
    if calibrated:
        free = torch.stack([scores(text) for text in ("N/A", "[MASK]", "")]).exp().mean(0)
        logits = (logits.exp() / free).log().log_softmax(1)
    return logits


@pytest.mark.parametrize(
    ("kind", "tokenizer", "changes"),
    [
        ("gpt2", {}, {}),
        ("gpt2", {"pad": True}, {"shots": True, "calibration": "contextual"}),
        ("llama", {"bos": True}, {"answers": {"0": " b", "1": " g"}, "calibration": "contextual"}),
        ("llama", {"chat": True}, {"shots": True}),
        ("llama", {"chat": True, "bos": True}, {"answers": {"0": "bad", "1": "very good"}}),
        ("mistral", {"pad": True}, {"shots": True}),
    ],
    ids=["no-padding-token", "shots-calibrated", "one-token-bos", "chat-shots", "chat", "no-cache"],
)
def test_logits_are_those_of_a_plain_loop(
    *, experiment: MakeExperiment, local: Callable[..., LocalPipeline], tmp_path: Path, small_world: dict[str, str], kind: Kind,
    tokenizer: dict[str, bool], changes: dict[str, Any],
) -> None:  # fmt: skip
    rows_of_world = [line.split("\t") for line in Path(small_world["train"]).read_text().splitlines()[:60]]
    lines = [f"{' '.join(text.split()[:4])}\t{label}\n" for text, label in rows_of_world]  # no text is cut
    (tmp_path / "rows.tsv").write_text("".join(lines))
    folder = save_causal_model(tmp_path / "lm", kind, positions=512, **tokenizer)
    shots = bool(changes.pop("shots", False))
    given = {**changes, "shots": write_shots(tmp_path / "shots.jsonl")} if shots else changes
    config = experiment(
        teacher=section(folder, **given),
        data__train=[str(tmp_path / "rows.tsv")],
        data__validation=0.3,
    )
    pipeline = local(config)
    side = pipeline.logits()
    assert side is not None
    rows = pipeline.tokenised("train", config.student.model)
    numbers = np.concatenate([rows.read_group(group)["row"].to_numpy() for group in range(len(rows.group_rows))])
    texts = [lines[number].split("\t")[0] for number in numbers]
    assert 20 < len(texts) < 60
    expected = plain_logits(
        folder, texts, given.get("answers", ANSWERS), shots=shots, calibrated=given.get("calibration") == "contextual"
    )
    np.testing.assert_allclose(load_logits(side.path), expected.numpy(), atol=2e-3)
    assert load_logits(side.path).std(0).max() > 0.05, "rows differ"


def test_a_student_learns_from_a_language_model_and_a_classifier_together(
    experiment: MakeExperiment, local: Callable[..., LocalPipeline], tmp_path: Path, small_world: dict[str, str]
) -> None:
    teachers = [section(save_causal_model(tmp_path / "lm")), {"model": small_world["teacher"], "training": SHORT, "weight": 3}]
    config = experiment(teacher=None, teachers=teachers, student__training=SHORT, student__seeds=[1],
                        compute__engine={"kind": "torch"})  # fmt: skip
    pipeline = local(config)
    comparison = pipeline.run()
    assert comparison is not None
    assert [system.name for system in comparison.systems][:3] == ["teacher ensemble", "teacher 1", "teacher 2"]
    folder = Path(pipeline.runner.folder)
    first, second, both = (
        load_logits(str(folder / f"logits/{name}")) for name in ("teacher-1/train", "teacher-2/train", "train")
    )
    np.testing.assert_allclose(both, 0.25 * first + 0.75 * second, atol=1e-5)
    causal = comparison.systems[1]
    assert causal.latency is None
    assert causal.cost is not None
    assert causal.cost.seconds > 0
    assert 0 <= causal.metrics["accuracy"].mean <= 1
    assert causal.footprint is not None
    assert "seconds per 1,000 rows" in markdown(comparison)
    again = local(config)
    again.run()
    assert again.runner.jobs == []


def test_only_the_text_is_cut(experiment: MakeExperiment, tmp_path: Path) -> None:
    folder = save_causal_model(tmp_path / "lm", positions=64)
    teacher = CausalTeacherConfig.model_validate(section(folder))
    asked = prompted_teacher(experiment(teacher=section(folder)), teacher)
    longest = max(map(len, asked.answers))
    (ids,) = asked.tokenizer.encode(["a film " * 500], sequence_length=1000).input_ids.to_pylist()
    assert 60 - longest <= len(ids) <= 65 - longest
    written = AutoTokenizer.from_pretrained(folder).decode(ids)
    assert written.startswith("Review: a film a film")
    assert written.endswith("\nSentiment:")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"prompt": "{text} =", "answers": {"0": "=", "1": " good"}}, "become one token; move the space from the end"),
        ({"prompt": "word " * 400 + "{text}"}, r"has \d+ tokens without a text, and .*lm takes 256 with the answer"),
    ],
)
def test_prompts_that_cannot_be_scored_are_refused(
    experiment: MakeExperiment, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    from tokenizers import Tokenizer

    folder = save_causal_model(tmp_path / "lm")
    file = tmp_path / "lm" / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    content["model"]["merges"].append(["=", "="])
    vocabulary["=="] = max(vocabulary.values()) + 1
    if changes["prompt"].endswith("="):
        file.write_text(json.dumps(content))
        Tokenizer.from_file(str(file))
        save_larger(folder, len(vocabulary))
    with pytest.raises(ConfigError, match=complaint):
        LocalPipeline(experiment(teacher=section(folder, **changes))).check()


def save_larger(folder: str, vocabulary: int) -> None:
    from tests.causal_models import causal_model

    causal_model("llama", vocabulary).save_pretrained(folder)


def test_what_cannot_teach_is_refused_before_a_run(
    experiment: MakeExperiment, tmp_path: Path, small_world: dict[str, str]
) -> None:
    with pytest.raises(ModelError, match=r"is no causal language model: its config\.json names BertForSequenceClassification"):
        LocalPipeline(experiment(teacher=section(small_world["teacher"]))).check()
    folder = save_causal_model(tmp_path / "lm")
    (tmp_path / "labels.txt").write_text("no\nyes\n")
    with pytest.raises(ConfigError, match=r"teacher\.answers has no answer for \['no', 'yes'\]"):
        LocalPipeline(experiment(teacher=section(folder), data__labels=str(tmp_path / "labels.txt"))).check()
    with pytest.raises(ConfigError, match=r"teacher\.shots: there is no file"):
        LocalPipeline(experiment(teacher=section(folder, shots=str(tmp_path / "absent.jsonl")))).check()
    broken = save_causal_model(tmp_path / "chat", chat=True)
    (tmp_path / "chat" / "chat_template.jinja").write_text("{{ raise_exception('no system message') }}")
    with pytest.raises(ModelError, match=r"the chat template of .* fails \(no system message\)"):
        LocalPipeline(experiment(teacher=section(broken))).check()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", r"shots\.jsonl:2: not a JSON object with text, label"),
        ("[1]", r"shots\.jsonl:2: not a JSON object with text, label"),
        ('{"text": "a"}', r"shots\.jsonl:2: not a JSON object with text, label"),
        ('{"text": "a", "label": "x"}', r"shots\.jsonl:2: label 'x' is not one of data\.labels \('0', '1'\)"),
        ('{"text": 3, "label": 1}', r"shots\.jsonl:2: text must be text, found \[3\]"),
    ],
)
def test_examples_that_cannot_be_used_are_named(tmp_path: Path, line: str, complaint: str) -> None:
    (tmp_path / "shots.jsonl").write_text('{"text": "fine", "label": 1}\n' + line + "\n")
    with pytest.raises(DataError, match=complaint):
        read_shots(str(tmp_path / "shots.jsonl"), ("0", "1"), pairs=False)
