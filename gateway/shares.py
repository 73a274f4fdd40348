"""What keys share: places, or bytes, of which each key has its part at most, given out in the order of asking."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .errors import Unavailable


class Shares:
    """``total`` places, at most ``per_key`` of them for one key. With ``wait_s`` 0 nobody waits for a free one."""

    def __init__(self, what: str, total: int, per_key: int, wait_s: float = 20.0) -> None:
        self._what, self._wait_s = what, wait_s
        self._free, self._per_key = total, per_key
        self._held: Counter[str] = Counter()
        self._line: deque[tuple[str, int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, key: str, amount: int = 1) -> AsyncIterator[None]:
        """Hold so many places. Raises Unavailable when they don't come free in time."""
        amount = min(amount, self._per_key)
        await self._take(key, amount)
        try:
            yield
        finally:
            self._give_back(key, amount)

    async def _take(self, key: str, amount: int) -> None:
        if not self._line and self._fits(key, amount):
            self._give(key, amount)
            return
        coming: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((key, amount, coming))
        self._serve()
        try:
            if self._wait_s:
                await asyncio.wait([coming], timeout=self._wait_s)
        except asyncio.CancelledError:
            if coming.done():
                self._give_back(key, amount)
            raise
        finally:
            coming.cancel()
            self._serve()
        if coming.cancelled():
            raise Unavailable(f"The gateway is busy with {self._what}; nothing was done. Try again.", retry_after_s=2)

    def _fits(self, key: str, amount: int) -> bool:
        return amount <= self._free and self._held[key] + amount <= self._per_key

    def _give(self, key: str, amount: int) -> None:
        self._free -= amount
        self._held[key] += amount

    def _give_back(self, key: str, amount: int) -> None:
        self._free += amount
        self._held[key] -= amount
        if not self._held[key]:
            del self._held[key]
        self._serve()

    def _serve(self) -> None:
        """Give what is free to those who wait, first come first; who is at his part lets others pass."""
        left: deque[tuple[str, int, asyncio.Future[None]]] = deque()
        for key, amount, coming in self._line:
            if coming.done():
                continue
            if self._fits(key, amount):
                self._give(key, amount)
                coming.set_result(None)
            else:
                left.append((key, amount, coming))
        self._line = left
