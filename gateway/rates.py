"""How often a key, or an address without one, may call: sliding windows of the ``limits`` library.

On Postgres all gateways count submits together; else each process counts for itself.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage, Storage
from limits.storage.base import SlidingWindowCounterSupport
from limits.strategies import SlidingWindowCounterRateLimiter
from sqlalchemy.dialects import postgresql

from .database import RATES, Database


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
