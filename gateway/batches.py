"""Calls that came in together go to the database together: one transaction, or one query, serves them all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_LARGEST = 64


class Batches(Generic[T, R]):
    """``work`` answers a list of items with a list of answers; ``ask`` is one item's way to its answer."""

    def __init__(self, work: Callable[[list[T]], Awaitable[list[R]]]) -> None:
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
                answers = await self._work([item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - handed to every waiting request
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
