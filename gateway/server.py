"""One gateway: its stores, its service and its loops put together around the application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from .attempts import AttemptStore
from .database import Database
from .facades import runcomfy, wavespeed
from .metrics import Metrics
from .service import JobService
from .settings import GatewayError, Settings
from .tables import Job
from .upkeep import Upkeep, repeat
from .web.app import SPOKE, build_app
from .webhooks import WebhookSender

_IDLE_S = 75.0  # longer than the proxies before it keep theirs
log = logging.getLogger(__name__)


@asynccontextmanager
async def serving(settings: Settings, address: str) -> AsyncIterator[web.Application]:
    """The application of one gateway, with its loops running. ``address`` is what links in webhooks start with."""
    service = await asyncio.to_thread(lambda: JobService(settings, Database(settings.database_url)))

    def payload(job: Job, event: str) -> Mapping[str, Any]:
        urls = service.links.of(job.outputs, address)
        if job.api == "wavespeed":
            return {**wavespeed.prediction_of(job, address, urls), "input": dict(job.shown)}
        return runcomfy.event_of(job, event, urls)

    webhooks = WebhookSender(service, payload)
    upkeep = Upkeep(service, AttemptStore(service.jobs.database, service.jobs.queue, settings.attempts))
    loops = (
        repeat("sweeping", upkeep.sweep, settings.sweep_s),
        repeat("clearing queues", lambda: service.call(upkeep.clear_stranded), 60),
        repeat("forgetting", upkeep.forget, 600),
        repeat("webhooks", webhooks.deliver_due, 0),
    )
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield build_app(service, Metrics(service, webhooks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        service.close()


async def run_gateway(settings: Settings, host: str, port: int) -> None:
    """Serve until cancelled."""
    address = settings.public_url or f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"
    async with serving(settings, address) as app, listening(app, host, port, settings.header_read_s):
        log.info("the gateway listens", extra={"address": address, "keys": settings.auth})
        await asyncio.Event().wait()


@asynccontextmanager
async def listening(
    app: web.Application, host: str, port: int, header_s: float, stop_s: float = 5
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


def prepare_data(settings: Settings) -> None:
    """Make the data folder and SQLite's file, or existing ones, private to their owner. Raises GatewayError."""
    paths = [settings.data]
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if settings.database_url.startswith("sqlite:///"):
            file = Path(settings.database_url.removeprefix("sqlite:///"))
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
            paths += [file, *file.parent.glob(f"{file.name}-*")]
        for path in paths if os.name == "posix" else ():
            with contextlib.suppress(FileNotFoundError):  # SQLite's side files go when another process closes it
                mode = stat.S_IMODE(path.stat().st_mode)
                if mode & 0o077:
                    path.chmod(mode & 0o700)
                    log.warning("made readable by its owner alone: %s", path)
    except OSError as error:
        raise GatewayError(
            f"{error.filename or settings.data} can't be used ({error.strerror}). It holds keys and pictures, so it must "
            "belong to this user: choose another --data, or change its owner."
        ) from None
