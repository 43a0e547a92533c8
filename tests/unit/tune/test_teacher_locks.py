"""Trials that need the same teacher take turns, whatever becomes of one of them."""

import asyncio

from raykd.tune.teacher_locks import LockTable


async def _waits(table: LockTable, name: str, holder: int) -> "asyncio.Task[None]":
    task = asyncio.create_task(table.acquire(name, holder))
    await asyncio.sleep(0.01)
    return task


def test_one_at_a_time_at_each_name() -> None:
    async def play() -> None:
        table = LockTable()
        await table.acquire("a", 1)
        await table.acquire("b", 2)
        second = await _waits(table, "a", 2)
        assert not second.done()
        await table.release("a")
        await asyncio.wait_for(second, 1)
        third = await _waits(table, "a", 3)
        assert not third.done(), "it is the second one's turn now"

    asyncio.run(play())


def test_a_trial_that_is_started_again_goes_on_with_its_turn() -> None:
    async def play() -> None:
        table = LockTable()
        await table.acquire("a", 1)
        await asyncio.wait_for(table.acquire("a", 1), 1)

    asyncio.run(play())


def test_a_trial_that_has_failed_holds_nobody_up() -> None:
    async def play() -> None:
        table = LockTable()
        await table.acquire("a", 1)
        lost = await _waits(table, "a", 2)  # its process dies while it waits, and it is not tried again
        third = await _waits(table, "a", 3)
        await table.release_all(2)
        await asyncio.wait_for(lost, 1)
        assert not third.done()
        await table.release_all(1)
        await asyncio.wait_for(third, 1)

    asyncio.run(play())
