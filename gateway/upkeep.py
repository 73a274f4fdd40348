"""What a gateway does beside answering: take over dead workers' jobs, clear stranded queues, forget what is old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import sqlalchemy as sa

from ..workflows import Bindings, available_bindings
from .attempts import AttemptStore
from .bodies import remove_scratch
from .database import clock, now
from .jobs import NOBODY
from .queue import queue_of
from .service import JobService
from .tables import JOBS

_STRAY_S = 3600.0
_MOMENT_S = 3.0
log = logging.getLogger(__name__)


class Upkeep:
    """The background loops of one gateway. Several gateways may run them on one database."""

    def __init__(self, service: JobService, attempts: AttemptStore) -> None:
        self.service, self.attempts = service, attempts

    async def sweep(self) -> None:
        """One round of sweeping."""
        service = self.service
        if await service.call(self._dead):
            await asyncio.sleep(_MOMENT_S)
            taken = await service.call(self.take_over)
            log.warning("took over the jobs of dead workers", extra={"jobs": taken})
        await service.forget(JOBS.c.owner == NOBODY)  # deleted while they ran
        await service.call(service.assets.collect)

    def take_over(self) -> list[str]:
        """Give the jobs that dead workers hold back to their queues; returns their tickets."""
        dead, give_back = self._dead(), self.attempts.give_back
        taken = [ticket for ticket, worker in dead if give_back(ticket, worker, f"its worker {worker} died")]
        self.service.jobs.queue.drop([ticket for ticket, _ in dead])
        return taken

    def _dead(self) -> list[tuple[str, str]]:
        """The tickets that dead workers hold, with these."""
        # A write: a database that takes none keeps heartbeats out as well. Once it does, the living have a moment.
        self.service.workers.forget_dead()
        held = self.service.jobs.queue.held()
        alive = self.service.workers.holding()  # asked after: a worker reports itself before it takes a job
        return [(ticket, worker) for ticket, executor in held if (worker := executor.rpartition("@")[0]) not in alive]

    def clear_stranded(self) -> None:
        """Move jobs that another release's workers would run, where none is left, to this release's; or refuse them."""
        jobs, workers = self.service.jobs, self.service.workers
        taken = {queue for worker in workers.offering() for queue in worker.queues}
        for queue in jobs.queues() - taken:
            workflow = queue.rpartition(".")[0]
            bindings = Bindings.load(workflow) if workflow in available_bindings() else None
            present = None if bindings is None else queue_of(workflow)
            if queue == present or (bindings is not None and present not in taken):
                continue  # its workers are on their way, or this release's are not here yet
            log.warning("no worker runs this queue any more", extra={"queue": queue, "to": present or "refused"})
            while jobs.move(queue, present, bindings):
                continue

    async def forget(self) -> None:
        """One round of forgetting."""
        service = self.service
        [today] = await service.call(service.jobs.database.first, sa.select(clock()))  # this machine's may be years off
        before = today - service.settings.keep_s
        await service.forget(JOBS.c.finished_at < before)
        await service.call(remove_scratch, service.settings.data, now() - _STRAY_S)
        await service.call(service.assets.remove_uploads, before)
        await service.call(service.assets.remove_strays, today - _STRAY_S)


async def repeat(what: str, function: Callable[[], Awaitable[None]], pause_s: float) -> None:
    """Call the function again and again, whatever it raises: a loop outlives a database that is away for a while."""
    while True:
        try:
            await function()
        except Exception as error:  # noqa: BLE001 - it is logged, and tried again
            log.error(f"{what} failed; tried again", extra={"problem": f"{type(error).__name__}: {error}"[:300]})
            await asyncio.sleep(1)
        await asyncio.sleep(pause_s)
