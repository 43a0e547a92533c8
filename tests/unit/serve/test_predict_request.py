"""Requests of any form: read, or refused with a status of 400 and above and one sentence."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.serve.predict_request import MAX_BODY_BYTES, PredictRequest, RequestError, parse_request

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)


def parse(content):
    return parse_request(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"inputs": "a"}, PredictRequest(("a",))),
        ({"inputs": ["a", "b"]}, PredictRequest(("a", "b"))),
        ({"inputs": [["a", "b"]]}, PredictRequest((("a", "b"),))),
        ({"inputs": ["a", ["b", "c"]], "parameters": None}, PredictRequest(("a", ("b", "c")))),
        ({"inputs": "a", "parameters": {"top_k": 1, "return_logits": True}}, PredictRequest(("a",), 1, True)),
        ({"inputs": "", "parameters": {"top_k": None}, "options": {"wait_for_model": True}}, PredictRequest(("",))),
    ],
)
def test_the_forms_of_hugging_face(content, expected):
    assert parse(content) == expected


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"{", 400, "the body is not JSON"),
        (b"\xff\xfe", 400, "the body is not JSON"),
        (b"[" * 100_000, 400, "the body is not JSON"),
        (b"x" * (MAX_BODY_BYTES + 1), 413, "the body is over 4 MB"),
        ([], 422, 'the body has no "inputs"'),
        ({"text": "a"}, 422, 'the body has no "inputs"'),
        ({"inputs": "a", "top_k": 1}, 422, "unknown key 'top_k'"),
        ({"inputs": []}, 422, "inputs is empty"),
        ({"inputs": 3}, 422, "input 0 is neither a text nor a pair of texts"),
        ({"inputs": ["a", ["b"]]}, 422, "input 1 is neither"),
        ({"inputs": [["a", "b", "c"]]}, 422, "input 0 is neither"),
        ({"inputs": {"text": "a"}}, 422, "input 0 is neither"),
        ({"inputs": ["a"] * 10_000}, 413, "10000 texts in one request, allowed are 1024"),
        ({"inputs": "a" * 300_000}, 413, "input 0 has 300,000 characters"),
        ({"inputs": "a\ud800"}, 422, "half a surrogate pair"),
        ({"inputs": "a", "parameters": []}, 422, "parameters is not an object"),
        ({"inputs": "a", "parameters": {"topk": 1}}, 422, "unknown parameter 'topk'"),
        ({"inputs": "a", "parameters": {"top_k": 0}}, 422, "top_k is not a positive integer"),
        ({"inputs": "a", "parameters": {"top_k": True}}, 422, "top_k is not a positive integer"),
        ({"inputs": "a", "parameters": {"return_logits": 1}}, 422, "return_logits is not true or false"),
    ],
)
def test_what_is_refused(content, status, message):
    with pytest.raises(RequestError) as refused:
        parse_request(content) if isinstance(content, bytes) else parse(content)
    assert refused.value.status == status
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@given(
    st.binary(max_size=200)
    | JSON.map(lambda one: json.dumps(one).encode())
    | JSON.map(lambda one: json.dumps({"inputs": one, "parameters": one}).encode())
)
@settings(max_examples=200)
def test_any_body_is_read_or_refused(body):
    try:
        found = len(parse_request(body).texts)
    except RequestError as error:
        found = error.status
    assert 1 <= found <= 1024 or found in {400, 413, 422}
