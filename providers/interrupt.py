"""Stop waiting within a fraction of a second, wherever a job is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .errors import Interrupted

T = TypeVar("T")
CHECK_EVERY_S = 0.05


async def run_interruptible(work: Coroutine[Any, Any, T], interrupted: Callable[[], bool]) -> T:
    """The result of ``work``, which is cancelled as soon as ``interrupted`` says so.

    ``interrupted`` must not clear what it reads, so that several waiting jobs all see it. Raises Interrupted.
    """
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            if interrupted():
                raise Interrupted("stopped by the user")
            await asyncio.wait({task}, timeout=CHECK_EVERY_S)
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
