"""Texts of concurrent requests, scored in calls that they share."""

import asyncio
import contextvars
from collections import deque
from collections.abc import Sequence

from raykd.data.tokenizer import Text
from raykd.serve.prediction_service import OverloadedError, ScoredTexts, ScoreTexts

Waiting = tuple[Sequence[Text], "asyncio.Future[ScoredTexts]"]
"""The texts of a request, and where its outputs go."""
CALLS = 2
"""Calls on their way to a replica at a time: one is scored while the next one is sent and tokenised."""
MAX_TEXTS = 256
"""Texts of a shared call; a request with more is a call of its own."""


class SharedCalls:
    """Scores the texts of requests in at most ``calls`` calls at a time; requests that wait meanwhile share the next one.

    A call to a model in another process costs as much as scoring several texts, so that one call for each request would
    take most of the processor's time. A lone request does not wait.
    """

    def __init__(self, score: ScoreTexts, *, calls: int) -> None:
        self._score = score
        self._calls = calls
        self._waiting: deque[Waiting] = deque()
        self._working: set[asyncio.Task[None]] = set()

    async def score(self, texts: Sequence[Text]) -> ScoredTexts:
        """Score the texts of one request."""
        answer: asyncio.Future[ScoredTexts] = asyncio.get_running_loop().create_future()
        self._waiting.append((texts, answer))
        if len(self._working) < self._calls:
            # in an empty context: Ray Serve would cancel the call with the request in whose context it was made
            task = contextvars.Context().run(asyncio.create_task, self._work())
            self._working.add(task)
        return await answer

    async def _work(self) -> None:
        try:
            while requests := self._next():
                await self._answer(requests)
        finally:  # before anything else runs: a request that came in between would find no task to take it
            self._working.discard(asyncio.current_task())

    def _next(self) -> list[Waiting]:
        """The requests of the next call, in order of arrival; those that were given up are left out."""
        taken: list[Waiting] = []
        texts = 0
        while self._waiting and (not taken or texts + len(self._waiting[0][0]) <= MAX_TEXTS):
            request = self._waiting.popleft()
            if not request[1].done():
                taken.append(request)
                texts += len(request[0])
        return taken

    async def _answer(self, requests: list[Waiting]) -> None:
        try:
            scored = await self._score([text for texts, _ in requests for text in texts])
        except Exception as error:  # any type: it belongs to the requests that wait for the call
            if len(requests) > 1 and not isinstance(error, OverloadedError):
                for request in requests:  # so that a text that fails fails its own request only
                    await self._answer([request])
                return
            for _, answer in requests:
                if not answer.done():
                    answer.set_exception(error)
            return
        start = 0
        for texts, answer in requests:
            if not answer.done():
                answer.set_result(scored.part(start, start + len(texts)))
            start += len(texts)
