"""What a gateway does beside answering: feed the engine, take over dead workers' jobs, repair, forget what is old."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from .database import now
from .service import JobService

# The table is the queue; the engine only holds its head, so that cancelling and a long queue stay cheap.
_WINDOW = 32
_FEED_S = 0.25
_BREATH_S = 0.05
_STRAY_S = 3600.0
log = logging.getLogger(__name__)


class Upkeep:
    """The background loops of one gateway. Several gateways may run them on one database."""

    def __init__(self, service: JobService) -> None:
        self.service = service
        self.full = False

    async def run_feeding(self) -> None:
        """Give queued jobs to the engine as it has room."""
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.service.arrived.wait(), _FEED_S)
            self.service.arrived.clear()
            await _guard("feeding", self.feed)
            # Every look costs the database something that submits wait for, so a burst is fed in a few rounds.
            await asyncio.sleep(_FEED_S if self.full else _BREATH_S)

    async def run_sweeping(self) -> None:
        """Look for dead workers and stranded jobs."""
        while True:
            await _guard("sweeping", self.sweep)
            await asyncio.sleep(self.service.settings.timing.sweep_s)

    async def run_forgetting(self) -> None:
        """Drop jobs, videos and uploads that are past their time."""
        while True:
            await _guard("forgetting", self.forget)
            await asyncio.sleep(600)

    async def feed(self) -> None:
        """One round of feeding."""
        service = self.service
        if not await service.call(service.jobs.unfed, 1):
            return
        room = _WINDOW - await service.call(service.engine.waiting)
        self.full = room <= 0
        if not self.full:
            jobs = await service.call(service.jobs.unfed, room)
            await service.call(service.engine.enqueue, jobs)
            await service.call(service.jobs.mark_fed, jobs)

    async def sweep(self) -> None:
        """One round of sweeping."""
        service = self.service
        taken = await service.call(self._take_over)
        if taken:
            log.warning("took over the jobs of dead workers", extra={"jobs": taken})
        if deleted := await service.call(service.jobs.disowned):  # while they ran
            await service.forget(deleted)
            await service.call(service.jobs.forget, deleted)
            await service.call(service.jobs.database.wipe)
        await service.call(service.assets.collect)
        fed = await service.call(service.jobs.open_fed)
        for job, reason in (await service.call(service.engine.lost, fed)).items():
            if reason == "unknown":  # the engine's database was lost or restored from an older copy
                await service.call(service.jobs.mark_fed, [job], False)
                log.warning("fed a job again that the engine did not know", extra={"job": job})
            elif await service.call(service.jobs.fail_open, job, "The worker gave the job up; see its log."):
                log.error("ended a job that nothing drives", extra={"job": job, "reason": reason})

    def _take_over(self) -> list[str]:
        service = self.service
        return service.engine.take_over(lambda: {worker.id for worker in service.workers.living()})

    async def forget(self) -> None:
        """One round of forgetting."""
        service = self.service
        before = now() - service.settings.timing.keep_s
        while old := await service.call(service.jobs.expired, before):
            await service.forget(old)
            await service.call(service.jobs.forget, old)
        await service.call(service.assets.remove_uploads, before)
        await service.call(service.assets.remove_strays, now() - _STRAY_S)
        await service.call(service.workers.forget_dead, before)


async def _guard(what: str, function: Callable[[], Awaitable[None]]) -> None:
    try:
        await function()
    except Exception as error:  # noqa: BLE001 - a loop must outlive a database that is away for a while
        log.error(f"{what} failed; it is tried again", extra={"problem": f"{type(error).__name__}: {error}"[:300]})
        await asyncio.sleep(1)
