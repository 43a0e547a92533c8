"""Concurrent requests share calls; each gets its own outputs, and its own failure."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.serve.prediction_service import OverloadedError, ScoredTexts
from raykd.serve.shared_calls import MAX_TEXTS, SharedCalls


class Recorder:
    """Scores a text by its length, notes the texts of each call, and how many calls run at a time."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.running = self.most = 0

    async def score(self, texts: Sequence[str]) -> ScoredTexts:
        self.calls.append(list(texts))
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.running -= 1
        if "overload" in texts:
            raise OverloadedError("full")
        if "broken" in texts:
            raise ValueError("broken")
        lengths = np.array([[len(text)] for text in texts], np.float32)
        return ScoredTexts(lengths, tuple(len(text) > 3 for text in texts), (len(texts),) * len(texts))


def ask(recorder: Recorder, requests: Sequence[Sequence[str]], *, calls: int = 2) -> list[ScoredTexts | BaseException]:
    async def run() -> list[ScoredTexts | BaseException]:
        shared = SharedCalls(recorder.score, calls=calls)
        return await asyncio.gather(*(shared.score(texts) for texts in requests), return_exceptions=True)

    return asyncio.run(run())


@given(st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=4), max_size=20), st.integers(1, 3))
def test_each_request_has_the_outputs_of_its_texts(requests: list[list[str]], calls: int) -> None:
    recorder = Recorder()
    found = ask(recorder, requests, calls=calls)
    for texts, one in zip(requests, found, strict=True):
        assert isinstance(one, ScoredTexts)
        assert one.logits[:, 0].tolist() == [len(text) for text in texts]
        assert one.truncated == tuple(len(text) > 3 for text in texts)
        assert len(one.batch_rows) == len(texts)
    assert recorder.most <= calls
    assert sorted(text for call in recorder.calls for text in call) == sorted(text for texts in requests for text in texts)


@pytest.mark.parametrize("pauses", range(4))
def test_a_request_that_comes_while_a_call_ends_is_answered(pauses: int) -> None:
    """It found the only call taken by a task that had no more to do, and waited until another request came."""

    async def run() -> None:
        replies: list[asyncio.Future[ScoredTexts]] = []

        async def score(_: Sequence[str]) -> ScoredTexts:
            replies.append(asyncio.get_running_loop().create_future())
            return await replies[-1]

        async def reply(number: int) -> None:
            while len(replies) <= number:
                await asyncio.sleep(0)
            replies[number].set_result(ScoredTexts(np.zeros((1, 1), np.float32), (False,), (1,)))

        shared = SharedCalls(score, calls=1)
        first = asyncio.create_task(shared.score(["a"]))
        await reply(0)
        for _ in range(pauses):
            await asyncio.sleep(0)
        second = asyncio.create_task(shared.score(["b"]))
        async with asyncio.timeout(5):
            await reply(1)
            await asyncio.gather(first, second)

    asyncio.run(run())


def test_requests_that_wait_share_the_next_call() -> None:
    recorder = Recorder()
    ask(recorder, [["a"]] * 20, calls=2)
    assert [len(call) for call in recorder.calls] == [20]
    alone = Recorder()
    ask(alone, [["a"]])
    assert alone.calls == [["a"]]


def test_a_call_has_a_limit_that_a_single_request_may_pass() -> None:
    recorder = Recorder()
    ask(recorder, [["a"] * (MAX_TEXTS - 1), ["b"], ["c"], ["d"] * (MAX_TEXTS + 5), ["e"]], calls=1)
    assert [len(call) for call in recorder.calls] == [MAX_TEXTS, 1, MAX_TEXTS + 5, 1]


def test_a_text_that_fails_fails_its_own_request_only() -> None:
    recorder = Recorder()
    good, bad, other = ask(recorder, [["good"], ["broken"], ["other"]], calls=1)
    assert isinstance(good, ScoredTexts)
    assert isinstance(other, ScoredTexts)
    assert isinstance(bad, ValueError)


def test_an_overloaded_model_is_not_asked_once_more() -> None:
    recorder = Recorder()
    found = ask(recorder, [["good"], ["overload"]], calls=1)
    assert [type(one) for one in found] == [OverloadedError] * 2
    assert len(recorder.calls) == 1


def test_requests_that_were_given_up_are_left_out_and_the_others_answered() -> None:
    recorder = Recorder()

    async def run() -> ScoredTexts:
        shared = SharedCalls(recorder.score, calls=1)
        first = asyncio.create_task(shared.score(["first"]))
        while not recorder.calls:
            await asyncio.sleep(0)
        given_up, kept = asyncio.create_task(shared.score(["given up"])), asyncio.create_task(shared.score(["kept"]))
        await asyncio.sleep(0)
        given_up.cancel()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await kept

    assert asyncio.run(run()).logits.tolist() == [[4]]
    assert recorder.calls == [["first"], ["kept"]]
