"""Calls that came in together go to the database together: one transaction, or one query, serves them all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_LARGEST = 64


class Batches(Generic[T, R]):
    """``work`` answers a list of items with a list of answers; ``ask`` is one item's way to its answer.

    What fails because of an item, one of ``faults``, fails it alone: the others are worked on one by one.
    """

    def __init__(self, work: Callable[[list[T]], Awaitable[list[R]]], faults: tuple[type[Exception], ...] = ()) -> None:
        self._faults = faults
        self._work = work
        self._inbox: asyncio.Queue[tuple[T, asyncio.Future[R]]] = asyncio.Queue()

    async def ask(self, item: T) -> R:
        """The answer to this item. Raises what the work on its batch raised."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait((item, future))
        return await future

    async def run(self) -> None:
        """Work for ever: a batch is what came in while the one before it was worked on."""
        while True:
            batch = [await self._inbox.get()]
            while len(batch) < _LARGEST and not self._inbox.empty():
                batch.append(self._inbox.get_nowait())
            try:
                await self._answer(batch)
            except self._faults:
                for one in batch:
                    try:
                        await self._answer([one])
                    except Exception as error:  # noqa: BLE001 - handed to the waiting request
                        _fail([one], error)
            except Exception as error:  # noqa: BLE001 - handed to every waiting request
                _fail(batch, error)

    async def _answer(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        answers = await self._work([item for item, _ in batch])
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)


def _fail(batch: list[tuple[T, asyncio.Future[R]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
