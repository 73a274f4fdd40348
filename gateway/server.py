"""One gateway: its stores, its service and its loops put together around the application."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from .assets import AssetStore
from .attempts import AttemptStore
from .database import Database
from .dial import Dialer
from .facades import serverless, wavespeed
from .facades.call import finished, iso
from .jobs import JobStore
from .keys import KeyStore, shared_secret
from .links import Links
from .metrics import Metrics
from .pictures import PictureDecoder
from .records import Job
from .service import JobService
from .settings import GatewayError, Settings
from .signing import WebhookSigner
from .upkeep import Upkeep
from .web.app import build_app
from .web.listen import listening
from .webhooks import WebhookSender
from .workers import WorkerStore

log = logging.getLogger(__name__)


def open_assets(settings: Settings, database: Database) -> AssetStore:
    """Pictures and videos: files beside SQLite, rows in Postgres, which every machine can reach."""
    return AssetStore(database, settings.data / "assets" if database.sqlite else None)


@dataclass
class Gateway:
    """Everything of one gateway. ``address`` is what links in webhooks start with."""

    settings: Settings
    address: str

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[web.Application]:
        """The application, with its background loops running."""
        settings = self.settings
        database = await asyncio.to_thread(Database, settings.database_url)
        jobs = JobStore(database)
        dialer = Dialer(settings.trusted_origins, settings.limits.fetch_s, settings.egress_proxy)
        links = Links(await asyncio.to_thread(shared_secret, database, "links"), settings.timing.link_s)
        keys = KeyStore(database)
        signer = WebhookSigner(await asyncio.to_thread(shared_secret, database, "webhooks"), keys)
        service = JobService(
            settings,
            jobs=jobs,
            assets=open_assets(settings, database),
            workers=WorkerStore(database, settings.timing),
            decoder=PictureDecoder(settings.limits.picture_pixels),
            dialer=dialer,
            links=links,
            signer=signer,
        )
        webhooks = WebhookSender(database, dialer, signer, self._payload(links))
        metrics = Metrics()
        metrics.watch(service, webhooks)
        upkeep = Upkeep(service, AttemptStore(database, jobs.queue, settings.timing.attempts))
        loops = (upkeep.run_sweeping, upkeep.run_forgetting, webhooks.run)
        tasks = [asyncio.create_task(loop()) for loop in loops]
        try:
            yield build_app(settings, service, keys, metrics)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            service.close()
            database.close()

    def _payload(self, links: Links) -> Any:
        """Makes the body of a webhook."""

        def payload(job: Job, event: str) -> Mapping[str, Any]:
            files = [self.address + links.path(item["asset"], item["filename"]) for item in job.outputs]
            if job.api == "wavespeed":
                return {**wavespeed.prediction_at(self.address, job, files), "input": dict(job.shown)}
            body: dict[str, Any] = {"request_id": job.id, "deployment_id": job.model, "status": event, **finished(job)}
            if event == "in_progress":
                return {**body, "started_at": iso(job.started_at)}
            body["outcome"] = event
            if event == "succeeded":
                body["outputs"] = serverless.outputs_at(job, files)
            if event == "failed":
                body["error"] = {"type": "execution_error", "message": job.error}
            return body

        return payload


async def run_gateway(settings: Settings, host: str, port: int) -> None:
    """Serve until cancelled."""
    address = settings.public_url or f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"
    async with (
        Gateway(settings, address).serving() as app,
        listening(app, host, port, header_s=settings.limits.header_read_s, stop_s=5),
    ):
        log.info("the gateway listens", extra={"address": address, "keys": settings.auth})
        await asyncio.Event().wait()


def prepare_data(settings: Settings) -> None:
    """Make the data folder and SQLite's file, or existing ones, private to their owner. Raises GatewayError."""
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_private(settings.data, 0o700)
        if settings.database_url.startswith("sqlite:///"):
            file = Path(settings.database_url.removeprefix("sqlite:///"))
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
            for path in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
                if path.exists():
                    _make_private(path, 0o600)
    except OSError as error:
        raise GatewayError(
            f"{error.filename or settings.data} can't be used ({error.strerror}). It holds keys and pictures, so it must "
            "belong to this user: choose another --data, or change its owner."
        ) from None


def _make_private(path: Path, mode: int) -> None:
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(mode)
        log.warning("made readable by its owner alone: %s", path)
