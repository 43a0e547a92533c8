"""Texts, requests by several clients at once, and the answers that models in one process give."""

import asyncio

import httpx
import pytest

TEXTS = [f"{'good ' * (index % 25)}film and a {'lovely ' * (index % 3)}plot" for index in range(60)]


def local_answers(student, teacher, texts):
    from raykd.serve.predict_request import PredictRequest
    from raykd.serve.serve_command import local_service
    from raykd.serve.served_application import ServedApplication

    return asyncio.run(local_service(ServedApplication(student, teacher)).predict(PredictRequest(tuple(texts)))).answers


def same(answer, expected):
    assert [one["label"] for one in answer] == [one["label"] for one in expected]
    assert [one["score"] for one in answer] == pytest.approx([one["score"] for one in expected], abs=1e-4)
    assert {one.get("answered_by") for one in answer} == {one.get("answered_by") for one in expected}


async def ask_all(address, bodies, *, clients=16, meanwhile=None):
    """The replies to all bodies, sent by several clients at once."""
    waiting = list(enumerate(bodies))
    replies = [None] * len(bodies)

    async def client():
        async with httpx.AsyncClient(base_url=address, timeout=120) as connection:
            while waiting:
                index, body = waiting.pop(0)
                replies[index] = await connection.post("/predict", json=body)

    await asyncio.gather(*(client() for _ in range(clients)), *([meanwhile()] if meanwhile else []))
    return replies
