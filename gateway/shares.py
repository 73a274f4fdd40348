"""What keys share: places, or bytes, of which each has its part at most, and how often each may call.

Calls are counted in sliding windows of the ``limits`` library: submits on Postgres by all gateways together, else by
each process for itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage, Storage
from limits.storage.base import SlidingWindowCounterSupport
from limits.strategies import SlidingWindowCounterRateLimiter
from sqlalchemy.dialects import postgresql

from .database import Database
from .errors import Unavailable
from .tables import RATES


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


class Rate:
    """At most ``burst`` calls in the time in which ``per_second`` of them come; what is beyond is refused, no more."""

    def __init__(self, per_second: float, burst: int, storage: Storage | None = None) -> None:
        self._any = not per_second
        self._item = RateLimitItemPerSecond(burst, 1 if self._any else max(1, round(burst / per_second)))
        self._limiter = SlidingWindowCounterRateLimiter(storage or MemoryStorage())

    def hit(self, who: str) -> bool:
        """Count a call; whether it may go on. Blocks for as long as the storage takes."""
        return self._any or self._limiter.hit(self._item, who)


class SharedCounters(Storage, SlidingWindowCounterSupport):
    """Counters of windows in Postgres, by its clock: one statement a call."""

    STORAGE_SCHEME = None

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """See SlidingWindowCounterSupport."""
        turns = sa.extract("epoch", sa.func.clock_timestamp()) / expiry
        turn = sa.func.floor(turns)
        same, next_one = RATES.c.turn == turn, RATES.c.turn == turn - 1
        before = sa.case((same, RATES.c.before), (next_one, RATES.c.calls), else_=0)
        calls = sa.case((same, RATES.c.calls), else_=0)
        room = before * (1 - (turns - turn)) + calls + amount <= limit
        row = postgresql.insert(RATES).values(key=key, turn=turn, calls=amount, before=0)
        counted = row.on_conflict_do_update(
            index_elements=[RATES.c.key], set_={"turn": turn, "before": before, "calls": calls + amount}, where=room
        ).returning(RATES.c.key)
        with self._database.write() as connection:
            connection.execute(sa.text("SET LOCAL synchronous_commit = off"))  # a count may be lost
            return connection.execute(counted).first() is not None

    @property
    def base_exceptions(self) -> type[Exception]:
        """See Storage."""
        return sqlalchemy.exc.SQLAlchemyError

    def _unused(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("sliding windows are acquired, nothing else is asked of them")

    incr = get = get_expiry = check = reset = clear = get_sliding_window = clear_sliding_window = _unused
