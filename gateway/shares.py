"""What keys share: places and bytes, of which each has its part at most, and how often each may call."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import sqlalchemy as sa
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from sqlalchemy.dialects import postgresql

from .database import Database
from .errors import Unavailable
from .tables import RATES


class Places:
    """``total`` places, at most ``per_key`` of them for one key; who has his part lets the others pass."""

    def __init__(self, what: str, total: int, per_key: int, wait_s: float = 20.0) -> None:
        self._what, self._wait_s = what, wait_s
        self._all = asyncio.Semaphore(total)
        self._of_key: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(per_key))

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold a place. Raises Unavailable when none comes free in time."""
        async with AsyncExitStack() as held:
            coming = asyncio.ensure_future(self._enter(held, key))
            try:
                await asyncio.wait([coming], timeout=self._wait_s)
                if not coming.done():
                    raise _busy(self._what)
            finally:
                coming.cancel()
            yield

    async def _enter(self, held: AsyncExitStack, key: str) -> None:
        for line in (self._of_key[key], self._all):
            await held.enter_async_context(line)


class Budget:
    """``total`` units, at most ``per_key`` of them for one key. Nobody waits for what is not free."""

    def __init__(self, what: str, total: int, per_key: int) -> None:
        self._what, self._free, self._per_key = what, total, per_key
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, key: str, amount: int) -> Iterator[None]:
        """Hold so many, or all that a key may. Raises Unavailable when they are not free."""
        amount = min(amount, self._per_key)
        if amount > self._free or self._held[key] + amount > self._per_key:
            raise _busy(self._what)
        self._free -= amount
        self._held[key] += amount
        try:
            yield
        finally:
            self._free += amount
            self._held[key] -= amount
            self._held += Counter()  # without those who hold nothing


def _busy(what: str) -> Unavailable:
    return Unavailable(f"The gateway is busy with {what}; nothing was done. Try again.", retry_after_s=2)


class Rate:
    """At most ``burst`` calls in the time in which ``per_second`` of them come; what is beyond is refused, no more."""

    def __init__(self, per_second: float, burst: int, windows: SharedWindows | None = None) -> None:
        self._any = not per_second
        self._item = RateLimitItemPerSecond(burst, 1 if self._any else max(1, round(burst / per_second)))
        self._windows = windows or SlidingWindowCounterRateLimiter(MemoryStorage())

    def hit(self, who: str) -> bool:
        """Count a call; whether it may go on. Blocks for as long as a database takes."""
        return self._any or self._windows.hit(self._item, who)


class SharedWindows:
    """As the library's sliding windows, counted in Postgres, by its clock: one statement a call."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hit(self, item: RateLimitItem, who: str) -> bool:
        """Count a call; whether it may go on."""
        turns = sa.extract("epoch", sa.func.clock_timestamp()) / item.get_expiry()
        turn = sa.func.floor(turns)
        same, next_one = RATES.c.turn == turn, RATES.c.turn == turn - 1
        before = sa.case((same, RATES.c.before), (next_one, RATES.c.calls), else_=0)
        calls = sa.case((same, RATES.c.calls), else_=0)
        room = before * (1 - (turns - turn)) + calls + 1 <= item.amount
        row = postgresql.insert(RATES).values(key=item.key_for(who), turn=turn, calls=1, before=0)
        counted = row.on_conflict_do_update(
            index_elements=[RATES.c.key], set_={"turn": turn, "before": before, "calls": calls + 1}, where=room
        ).returning(RATES.c.key)
        with self._database.write() as connection:
            connection.execute(sa.text("SET LOCAL synchronous_commit = off"))  # a count may be lost
            return connection.execute(counted).first() is not None
