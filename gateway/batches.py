"""Calls that came in together go to the database together, in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_LARGEST = 64


class Batches(Generic[T, R]):
    """``work`` answers what came in while it did the batch before; what causes one of ``faults`` fails alone."""

    def __init__(self, work: Callable[[list[T]], Awaitable[list[R]]], faults: tuple[type[Exception], ...] = ()) -> None:
        self._work, self._faults = work, faults
        self._inbox: list[tuple[T, asyncio.Future[R]]] = []
        self._working = asyncio.Lock()

    async def ask(self, item: T) -> R:
        """The answer to this item. Raises what the work on its batch raised."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._inbox.append((item, future))
        async with self._working:
            if not future.done():  # nobody took it along
                batch, self._inbox = self._inbox[:_LARGEST], self._inbox[_LARGEST:]
                await asyncio.shield(self._answer(batch))  # whose caller goes, the others stay
        return await future

    async def _answer(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        answers: list[R | Exception]
        try:
            answers = [*await self._work([item for item, _ in batch])]
        except Exception as error:  # noqa: BLE001 - handed to every waiting request
            if isinstance(error, self._faults) and len(batch) > 1:
                for one in batch:
                    await self._answer([one])
                return
            answers = [error for _ in batch]
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_exception(answer) if isinstance(answer, Exception) else future.set_result(answer)
