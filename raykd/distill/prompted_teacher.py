"""From a causal language model's section to prompts and answers as tokens: examples, chat template, and all checks."""

import json
from dataclasses import dataclass, replace
from typing import Any

import tokenizers

from raykd.config import CausalTeacherConfig, ExperimentConfig
from raykd.data import storage
from raykd.data.prompts import PromptTokenizer, split_fields
from raykd.data.tokenizer import Text
from raykd.errors import ConfigError, DataError, ModelError, list_values
from raykd.models import load_tokenizer, max_sequence_length
from raykd.models.causal_models import check_causal_model
from raykd.predict.answer_scorer import AnswerJob
from raykd.task_kinds import label_codec

CONTENT_FREE = ("N/A", "[MASK]", "")
"""Texts of contextual calibration; Zhao et al. 2021, arXiv:2102.09690 §5."""
SAMPLE = "text"
"""Text of the prompt in which the answers are tokenised."""
FIELDS = ("{text}", "{text_pair}")
BLANK_LINE = "\n\n"
"""Separator of examples outside chats."""


@dataclass(frozen=True)
class PromptedTeacher:
    """A causal language model as a teacher: its prompts' tokenizer, and the tokens of its answers."""

    tokenizer: PromptTokenizer
    answers: tuple[tuple[int, ...], ...]
    """Token ids of each label's answer, in the order of the labels' ids."""
    content_free: tuple[tuple[int, ...], ...]
    """Token ids of the prompts of content-free texts; empty without calibration."""
    batch_rows: int
    """Prompts of one forward pass."""

    @property
    def key(self) -> tuple[object, ...]:
        """The part of its answers that its prompts do not determine."""
        return self.answers, self.content_free

    def job(self, model: str, prepared: str, output: str) -> AnswerJob:
        """The scoring of rows that were tokenised as prompts."""
        return AnswerJob(
            model, prepared, output, batch_rows=self.batch_rows, answers=self.answers, content_free=self.content_free
        )


@dataclass(frozen=True)
class Shot:
    """An example with its label."""

    text: Text
    label: str


def prompted_teacher(config: ExperimentConfig, teacher: CausalTeacherConfig) -> PromptedTeacher:
    """Prompts and answers of a teacher.

    Raises ConfigError for answers or a prompt that do not fit the labels, the texts, or the model's context; ModelError for a
    folder without causal language model; DataError with file and line for an example that cannot be used.
    """
    labels, pairs = label_codec(config.data).names, config.data.second_sequence is not None
    try:
        teacher.check_data(labels, pairs=pairs)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    model = check_causal_model(teacher.model)
    own = load_tokenizer(teacher.model, needs_padding=False)
    shots = [] if teacher.shots is None else read_shots(teacher.shots, labels, pairs=pairs)
    bare = _prompt_tokenizer(teacher, own, shots)
    answers = tuple(_answer_ids(bare, label, teacher.answers[label], pairs=pairs) for label in labels)
    positions = max_sequence_length(model)
    limit = None if positions is None else positions - max(map(len, answers)) + 1  # the last token is never read
    empty = bare.prompt_ids(("", "") if pairs else "")
    if limit is not None and len(empty) >= limit:
        raise ConfigError(
            f"teacher.prompt with its examples has {len(empty)} tokens without a text, and {teacher.model} takes {positions} "
            "with the answer; shorten it, or give fewer examples"
        )
    free = [(text, text) if pairs else text for text in CONTENT_FREE] if teacher.calibration == "contextual" else []
    return PromptedTeacher(
        tokenizer=replace(bare, max_tokens=limit),
        answers=answers,
        content_free=tuple(tuple(bare.prompt_ids(text)) for text in free),
        batch_rows=teacher.batch_size,
    )


def read_shots(path: str, labels: tuple[str, ...], *, pairs: bool) -> list[Shot]:
    """The examples of a file with a JSON object in each line. Raises DataError with file and line."""
    if not storage.exists(path):
        raise ConfigError(f"teacher.shots: there is no file {path}; give a file with a JSON object in each line")
    needed = ("text", "text_pair", "label") if pairs else ("text", "label")
    shots = []
    for number, line in enumerate(storage.read_bytes(path).splitlines(), start=1):
        try:
            content = json.loads(line)
            values = {name: content[name] for name in needed}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}:{number}: not a JSON object with {', '.join(needed)} ({error!r})") from None
        label = str(values["label"])
        if label not in labels:
            raise DataError(f"{path}:{number}: label {label!r} is not one of data.labels ({list_values(labels)})")
        texts = [values[name] for name in needed[:-1]]
        if not all(isinstance(text, str) for text in texts):
            raise DataError(f"{path}:{number}: {', '.join(needed[:-1])} must be text, found {texts!r}")
        shots.append(Shot((texts[0], texts[1]) if pairs else texts[0], label))
    return shots


def _prompt_tokenizer(teacher: CausalTeacherConfig, own: Any, shots: list[Shot]) -> PromptTokenizer:
    pipeline = tokenizers.Tokenizer.from_str(own.backend_tokenizer.to_str())
    pipeline.no_truncation()
    pipeline.no_padding()
    chat = teacher.chat_template and own.chat_template is not None
    literals, fields = _chat_pieces(teacher, own, shots) if chat else _plain_pieces(teacher, shots)
    return PromptTokenizer(
        backend=pipeline.to_str(),
        has_token_types=False,
        pad_token_id=next(int(one) for one in (own.pad_token_id, own.eos_token_id, 0) if one is not None),
        truncation_side=own.truncation_side,
        split_special_tokens=bool(own.split_special_tokens),
        padding_side="left",
        literals=literals,
        fields=fields,
        leading_ids=() if chat else _leading_ids(pipeline),
    )


def _leading_ids(pipeline: tokenizers.Tokenizer) -> tuple[int, ...]:
    """Special tokens that the tokenizer puts before a text, such as the beginning-of-sequence token."""
    encoding = pipeline.encode(SAMPLE)
    first = encoding.special_tokens_mask.index(0)
    return tuple(encoding.ids[:first])


def _plain_pieces(teacher: CausalTeacherConfig, shots: list[Shot]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    literals, fields = split_fields(teacher.prompt, FIELDS)
    before = "".join(_filled(teacher.prompt, shot.text) + teacher.answers[shot.label] + BLANK_LINE for shot in shots)
    return (before + literals[0], *literals[1:]), fields


def _chat_pieces(teacher: CausalTeacherConfig, own: Any, shots: list[Shot]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The chat in which the examples are earlier messages, split at the texts. Raises ModelError for a template that fails."""
    messages = []
    for shot in shots:
        messages.append({"role": "user", "content": _filled(teacher.prompt, shot.text)})
        messages.append({"role": "assistant", "content": teacher.answers[shot.label].strip()})
    taken = teacher.prompt + json.dumps(messages, ensure_ascii=False)
    free = [mark for mark in map(chr, range(0xE000, 0xF8FF)) if mark not in taken][:2]  # private use: no template changes them
    messages.append({"role": "user", "content": _filled(teacher.prompt, (free[0], free[1]))})
    try:
        chat = own.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # whatever a template of the model's author raises
        raise ModelError(f"the chat template of {teacher.model} fails ({error}); set teacher.chat_template to false") from error
    literals, fields = split_fields(chat, (free[0], free[1]))
    if not fields:
        raise ModelError(f"the chat template of {teacher.model} drops the prompt; set teacher.chat_template to false")
    return literals, fields


def _filled(prompt: str, text: Text) -> str:
    literals, fields = split_fields(prompt, FIELDS)
    pair = text if isinstance(text, tuple) else (text, "")
    return literals[0] + "".join(pair[field] + literal for field, literal in zip(fields, literals[1:], strict=True))


def _answer_ids(tokenizer: PromptTokenizer, label: str, answer: str, *, pairs: bool) -> tuple[int, ...]:
    """Tokens that the answer adds to a prompt. Raises ConfigError when it adds none, or changes the prompt's last token."""
    sample: Text = (SAMPLE, SAMPLE) if pairs else SAMPLE
    prompt, whole = tokenizer.prompt_ids(sample), tokenizer.prompt_ids(sample, answer)
    if whole[: len(prompt)] != prompt:
        raise ConfigError(
            f"teacher.answers: {answer!r} (label {label!r}) and the end of teacher.prompt become one token; move the space "
            "from the end of the prompt to the beginning of the answers"
        )
    if len(whole) == len(prompt):
        raise ConfigError(f"teacher.answers: {answer!r} (label {label!r}) has no token; give another answer")
    return tuple(whole[len(prompt) :])
