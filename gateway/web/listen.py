"""The listening socket: connections that send no whole request in time are closed, and idle ones after a while."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

SPOKE = web.AppKey("spoke", set)
"""The connections on which a request has come."""
_IDLE_S = 75.0  # longer than the proxies before it keep theirs


@asynccontextmanager
async def listening(
    app: web.Application, host: str, port: int, *, header_s: float, stop_s: float
) -> AsyncIterator[None]:
    """Serve while the block runs; then requests may end for ``stop_s``. Raises OSError."""
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=_IDLE_S, shutdown_timeout=stop_s, lingering_time=2)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        watching = asyncio.create_task(_watch(runner, app[SPOKE], header_s))
        try:
            yield
        finally:
            watching.cancel()
    finally:
        with contextlib.suppress(Exception):
            await runner.cleanup()


async def _watch(runner: web.AppRunner, spoke: set[object], header_s: float) -> None:
    silent: dict[RequestHandler, float] = {}
    while True:
        await asyncio.sleep(min(1.0, header_s / 4))
        alive, now = runner.server.connections if runner.server is not None else [], time.monotonic()
        spoke.intersection_update(alive)
        silent = {connection: silent.get(connection, now) for connection in alive if connection not in spoke}
        for connection, since in silent.items():
            if now - since > header_s:
                connection.force_close()
