"""How often a key, or an address without one, may call: sliding windows of the ``limits`` library."""

from __future__ import annotations

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage, Storage
from limits.strategies import SlidingWindowCounterRateLimiter


class Rate:
    """At most ``burst`` calls in the time in which ``per_second`` of them come; what is beyond is refused, no more."""

    def __init__(self, per_second: float, burst: int, storage: Storage | None = None) -> None:
        self._any = not per_second
        self._item = RateLimitItemPerSecond(burst, 1 if self._any else max(1, round(burst / per_second)))
        self._limiter = SlidingWindowCounterRateLimiter(storage or MemoryStorage())

    def hit(self, who: str) -> bool:
        """Count a call; whether it may go on. Blocks for as long as the storage takes."""
        return self._any or self._limiter.hit(self._item, who)
