"""The endpoints over HTTP, without Ray: format, refusals, overload, counters; texts are not logged."""

import asyncio
import logging

import httpx
import pytest

pytest.importorskip("fastapi", reason="the extra raykd[serve] is not installed")

from raykd.serve.http_app import build_app, server_info
from raykd.serve.prediction_service import OverloadedError, PredictionService, score_in_process


def app_of(served, score=None, **options):
    service = PredictionService(served.description, score or score_in_process(served))
    return build_app(service, server_info(served.description, None, form="torch", threshold=None), **options)


def ask(app, *requests):
    """Send requests at once: (method, path, options); the replies in their order."""

    async def send():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
            return await asyncio.gather(*(client.request(method, path, **options) for method, path, options in requests))

    return asyncio.run(send())


def predict(content):
    return ("POST", "/predict", {"content": content} if isinstance(content, bytes) else {"json": content})


def test_a_single_text_is_answered_by_a_list_of_one_list(served):
    (reply,) = ask(app_of(served), predict({"inputs": "good film"}))
    assert reply.status_code == 200
    ((best, other),) = reply.json()
    assert set(best) == {"label", "score"}
    assert best["score"] >= other["score"]
    assert best["score"] + other["score"] == pytest.approx(1)


def test_many_requests_at_once_are_each_answered_as_alone(served):
    texts = [f"{'good ' * (index % 20)}film" for index in range(40)]
    app = app_of(served)
    together = ask(app, *(predict({"inputs": [text, texts[0]]}) for text in texts))
    for text, reply in zip(texts, together, strict=True):
        (alone,) = ask(app, predict({"inputs": text}))
        got, expected = ({one["label"]: one["score"] for one in reply} for reply in (reply.json()[0], alone.json()[0]))
        assert got == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"\x00" * (10 << 20), 413),
        ({"inputs": 1}, 422),
        ({"inputs": ["a"] * 10_000}, 413),
        ({"text": "secret words"}, 422),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_sentence(content, status, served):
    (reply,) = ask(app_of(served), predict(content))
    assert reply.status_code == status
    assert set(reply.json()) == {"error"}
    assert "\n" not in reply.json()["error"]
    assert "Traceback" not in reply.text
    assert "secret" not in reply.text


def test_a_body_without_its_length_is_read_no_further_than_the_limit(served):
    read = []

    async def parts():
        for number in range(200):
            read.append(number)
            yield b"x" * (1 << 20)

    (reply,) = ask(app_of(served), ("POST", "/predict", {"content": parts()}))
    assert reply.status_code == 413
    assert len(read) < 10


def test_more_requests_than_may_wait_are_sent_away(served):
    async def slow(texts):
        await asyncio.sleep(0.05)
        return await score_in_process(served)(texts)

    app = app_of(served, slow, max_waiting=3)
    replies = ask(app, *(predict({"inputs": "good"}) for _ in range(8)))
    assert sorted(reply.status_code for reply in replies) == [200] * 3 + [503] * 5
    refused = next(reply for reply in replies if reply.status_code == 503)
    assert refused.headers["Retry-After"] == "1"
    (after,) = ask(app, predict({"inputs": "good"}))
    assert after.status_code == 200, "the queue takes requests again"


def test_failures_show_neither_traceback_nor_texts(served, caplog):
    async def broken(texts):
        raise RuntimeError(f"cannot score {texts}")

    async def overloaded(texts):
        raise OverloadedError("no replica of the model is up; send this request again later")

    with caplog.at_level(logging.DEBUG):
        (reply,) = ask(app_of(served, broken), predict({"inputs": "private matter"}))
        (away,) = ask(app_of(served, overloaded), predict({"inputs": "private matter"}))
    assert (reply.status_code, away.status_code) == (500, 503)
    assert "RuntimeError" in caplog.text
    assert "private" not in caplog.text + reply.text


def test_counters_information_and_description(served):
    app = app_of(served)
    ask(app, predict({"inputs": ["good", "fine"]}), predict(b"{"))
    metrics, info, health, page, api, docs = ask(
        app, *(("GET", path, {}) for path in ("/metrics", "/info", "/healthz", "/", "/openapi.json", "/docs"))
    )
    assert 'raykd_requests_total{status="200"} 1.0' in metrics.text
    assert 'raykd_requests_total{status="400"} 1.0' in metrics.text
    assert "raykd_texts_total 2.0" in metrics.text
    assert "raykd_escalations_total 0.0" in metrics.text
    assert 'raykd_batch_rows_bucket{le="2.0"} 2.0' in metrics.text
    assert "raykd_request_seconds_count 1.0" in metrics.text
    content = info.json()
    assert content["model"]["labels"] == ["bad", "good"]
    assert content["model"]["weights_digest"] == served.description.digest
    assert (content["model"]["sequence_length"], content["model"]["temperature"]) == (32, 2.0)
    assert content["versions"]["raykd"]
    assert served.description.folder not in info.text
    assert health.json() == {"status": "ok"}
    assert page.text.startswith("<!doctype html>")
    assert "/predict" in api.json()["paths"]
    assert docs.status_code == 200
