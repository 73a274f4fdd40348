"""A gateway in a thread of its own, for clients that block."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from .local import Local, local


class Background:
    """A context manager that gives the running gateway."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self._folder, self._options = folder, options
        self._here: Local | None = None
        self._ready = threading.Event()
        self._end: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with local(self._folder, **self._options) as here:
            self._here = here
            self._ready.set()
            await self._end.wait()

    def __enter__(self) -> Local:
        self._thread.start()
        assert self._ready.wait(30)
        assert self._here is not None
        return self._here

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._end is not None
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)
