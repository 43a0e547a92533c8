"""Requests in the format of Hugging Face's inference API, checked."""

import json
from dataclasses import dataclass
from typing import Any

from raykd.data.tokenizer import Text

MAX_BODY_BYTES = 4 << 20
"""Bytes of a request."""
MAX_TEXTS = 1024
"""Texts of a request."""
MAX_CHARACTERS = 200_000
"""Characters of a text: far more than any model reads, and tokenised in a fraction of a second."""


class RequestError(Exception):
    """A request that cannot be answered: an HTTP status and one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class PredictRequest:
    """Texts, or pairs of texts, and the form of the answer."""

    texts: tuple[Text, ...]
    top_k: int | None = None
    """Labels of each answer; None: all."""
    return_logits: bool = False


def parse_request(body: bytes) -> PredictRequest:
    """Read ``{"inputs": TEXT | [TEXT or [TEXT, TEXT], ...], "parameters": {"top_k": n, "return_logits": bool}}``.

    Raises RequestError: 400 for what is not JSON, 413 for too much of it, 422 for other types.
    """
    if len(body) > MAX_BODY_BYTES:
        raise too_large()
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, 'the body is not JSON; send {"inputs": "a text"}') from None
    if not isinstance(content, dict) or "inputs" not in content:
        raise RequestError(422, 'the body has no "inputs"; send {"inputs": "a text"} or {"inputs": ["a text", "another"]}')
    if unknown := sorted(set(content) - {"inputs", "parameters", "options"}):
        raise RequestError(422, f"unknown key {unknown[0][:40]!r}; a body has inputs and parameters")
    inputs = content["inputs"]
    given = inputs if isinstance(inputs, list) else [inputs]
    if not given:
        raise RequestError(422, "inputs is empty; give one text at least")
    if len(given) > MAX_TEXTS:
        raise RequestError(413, f"{len(given)} texts in one request, allowed are {MAX_TEXTS}; send several requests")
    texts = tuple(_text(one, index) for index, one in enumerate(given))
    return PredictRequest(texts, *_parameters(content.get("parameters")))


def too_large() -> RequestError:
    """The error of a body over the limit."""
    return RequestError(413, f"the body is over {MAX_BODY_BYTES >> 20} MB; send fewer or shorter texts")


def _text(given: Any, index: int) -> Text:
    parts = given if isinstance(given, list) else [given]
    if (
        len(parts) not in (1, 2)
        or (isinstance(given, list) and len(parts) == 1)
        or not all(isinstance(one, str) for one in parts)
    ):
        raise RequestError(422, f"input {index} is neither a text nor a pair of texts; send strings, or lists of two strings")
    for part in parts:
        if len(part) > MAX_CHARACTERS:
            raise RequestError(413, f"input {index} has {len(part):,} characters, allowed are {MAX_CHARACTERS:,}; shorten it")
        if not part.isascii() and any("\ud800" <= one <= "\udfff" for one in part):
            raise RequestError(422, f"input {index} holds half a surrogate pair, which is no text; send valid Unicode")
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _parameters(given: Any) -> tuple[int | None, bool]:
    if given is None:
        return None, False
    if not isinstance(given, dict):
        raise RequestError(422, 'parameters is not an object; send {"top_k": 1, "return_logits": false}, or leave it out')
    if unknown := sorted(set(given) - {"top_k", "return_logits"}):
        raise RequestError(422, f"unknown parameter {unknown[0][:40]!r}; there are top_k and return_logits")
    top_k, logits = given.get("top_k"), given.get("return_logits", False)
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
        raise RequestError(422, "top_k is not a positive integer; give 1 or more, or null for all labels")
    if not isinstance(logits, bool):
        raise RequestError(422, "return_logits is not true or false")
    return top_k, logits
