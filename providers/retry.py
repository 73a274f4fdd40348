"""How often and how long: every number of the waiting and resending, and the injected clock."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

RETRY_AFTER_CAP_S = 150.0


@dataclass(frozen=True)
class Clock:
    """Time, sleep and chance, so that tests need none of the three."""

    time: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random


@dataclass(frozen=True)
class Policy:
    """The waiting rules of one client, in seconds."""

    backoff_s: float = 1.0
    backoff_cap_s: float = 30.0
    submit_attempts: int = 6
    poll_s: float = 2.0
    slow_poll_s: float = 5.0
    slow_after_s: float = 20.0
    deadline_s: float = 3600.0
    unknown_grace_s: float = 15.0
    """For how long after the submit a 404 may mean "not yet known"."""
    reconcile_tries: int = 3
    reconcile_wait_s: float = 3.0
    interrupt_grace_s: float = 0.3
    """For how long an interrupted submit may still receive its id."""
    download_attempts: int = 5
    connect_s: float = field(default=10.0)

    def backoff(self, attempt: int, clock: Clock) -> float:
        """The wait before attempt number ``attempt`` + 1 (from 0): doubling, with half of it left to chance."""
        full = min(self.backoff_cap_s, self.backoff_s * 2.0**attempt)
        return full * (0.5 + 0.5 * clock.random())

    def poll_wait(self, since_submit_s: float) -> float:
        """The wait between two looks at a job."""
        return self.poll_s if since_submit_s < self.slow_after_s else self.slow_poll_s


def parse_retry_after(value: str | None, now: float) -> float | None:
    """The seconds that a Retry-After header asks for, between 0 and 150; None for one that says nothing usable.

    RFC 9110 allows seconds or an HTTP date.
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (TypeError, ValueError, OverflowError, IndexError):
            return None
    if math.isnan(seconds) or seconds < 0:
        return None if math.isnan(seconds) else 0.0
    return min(seconds, RETRY_AFTER_CAP_S)
