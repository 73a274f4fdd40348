"""The signals that tell a process to end: the first in good order, the second at once."""

from __future__ import annotations

import asyncio
import signal
from typing import Any


class Stops:
    """Listens for SIGINT and SIGTERM from now on; ``number`` is the last that came. On Windows Ctrl-C raises instead."""

    def __init__(self) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()
        self.number = int(signal.SIGTERM)
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                asyncio.get_running_loop().add_signal_handler(number, self._told, number)
            except NotImplementedError:
                continue

    def _told(self, number: int) -> None:
        self.number = number
        (self.second if self.first.is_set() else self.first).set()


async def until(event: asyncio.Event, *tasks: asyncio.Task[Any], timeout_s: float | None = None) -> bool:
    """Wait for the event, the end of a task, or so long; whether the event came. Raises what a task raised."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        done, _ = await asyncio.wait([waiting, *tasks], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done:
                task.result()
        return event.is_set()
    finally:
        waiting.cancel()
