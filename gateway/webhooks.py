"""Webhooks: one POST for each event in the outbox, signed, tried again with growing pauses for a day."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from .database import clock
from .dial import DialRefused
from .service import JobService
from .tables import JOBS, OUTBOX, Job

_GIVE_UP_S = 24 * 3600.0
_LEASE_S = 60.0
_IDLE_S = 1.0
_AT_ONCE = 32
_SHARE = 4  # of one owner
Payload = Callable[[Job, str], Mapping[str, Any]]


class WebhookSender:
    """Delivers what the outbox holds: gateways share it by leases, and each owner has a share of what is sent at a time."""

    def __init__(self, service: JobService, payload: Payload) -> None:
        self.database, self.dialer, self.signer = service.jobs.database, service.dialer, service.signer
        self.payload, self.sent, self.failed = payload, 0, 0
        self._sending: dict[asyncio.Task[None], str] = {}

    async def deliver_due(self) -> None:
        """Begin to deliver what is due now, and wait until there may be more."""
        busy = Counter(self._sending.values())
        for event, job in await asyncio.to_thread(self._lease, busy):
            task = asyncio.create_task(self._deliver(event, job))
            self._sending[task] = job.owner
            task.add_done_callback(self._sending.pop)
        ended = list(self._sending) or [asyncio.ensure_future(asyncio.sleep(_IDLE_S))]
        await asyncio.wait(ended, timeout=_IDLE_S, return_when=asyncio.FIRST_COMPLETED)

    def waiting(self) -> tuple[int, float]:
        """How many deliveries wait, and how old the oldest is, in seconds."""
        age = clock() - sa.func.min(OUTBOX.c.created_at)
        number, oldest = self.database.first(sa.select(sa.func.count(), age).where(OUTBOX.c.state == "waiting"))
        return int(number), max(0.0, oldest or 0.0)

    def _lease(self, busy: Counter[str]) -> list[tuple[Row[Any], Job]]:
        """What to send now beside what is being sent: rows of the outbox, with their jobs."""
        full = [owner for owner, number in busy.items() if number >= _SHARE]
        turn = sa.func.row_number().over(partition_by=JOBS.c.owner, order_by=OUTBOX.c.next_at)
        due = (
            sa.select(OUTBOX.c.id, JOBS.c.owner, turn.label("turn"))
            .join(JOBS, JOBS.c.id == OUTBOX.c.job)
            .where(OUTBOX.c.state == "waiting", OUTBOX.c.next_at <= clock(), JOBS.c.owner.not_in(full))
            .subquery()
        )
        query = sa.select(due).where(due.c.turn <= _SHARE).order_by(due.c.turn).limit(max(0, _AT_ONCE - busy.total()))
        ids = []
        for row in self.database.rows(query):
            busy[row.owner] += 1
            if busy[row.owner] <= _SHARE:
                ids.append(row.id)
        if not ids:
            return []
        mine = sa.and_(OUTBOX.c.id.in_(ids), OUTBOX.c.state == "waiting", OUTBOX.c.next_at <= clock())
        lease = sa.update(OUTBOX).where(mine).values(next_at=clock() + _LEASE_S).returning(*OUTBOX.c)
        with self.database.write() as connection:
            events = connection.execute(lease).all()
            rows = connection.execute(sa.select(JOBS).where(JOBS.c.id.in_([event.job for event in events])))
            jobs = {row.id: Job(**row._mapping) for row in rows}
        return [(event, jobs[event.job]) for event in events if event.job in jobs]

    async def _deliver(self, event: Row[Any], job: Job) -> None:
        body = json.dumps(self.payload(job, event.event)).encode()
        signed = await asyncio.to_thread(self.signer.headers, job.owner, job.api, event.id, body)
        headers = {"Content-Type": "application/json", "User-Agent": "wan-flf2v-gateway", **signed}
        try:
            status = await self.dialer.post(job.webhook, body, headers)
            problem = "" if 200 <= status < 300 else f"HTTP {status}"
        except DialRefused as error:
            problem = str(error)
        await asyncio.to_thread(self._note, event, problem)

    def _note(self, event: Row[Any], problem: str) -> None:
        pause = min(3600.0, 2.0 ** (event.tries + 1)) * random.uniform(0.7, 1.3)
        if not problem:
            values: dict[str, Any] = {"state": "sent"}
            self.sent += 1
        elif event.next_at + pause - event.created_at > _GIVE_UP_S:
            values = {"state": "dead"}
            self.failed += 1
        else:
            values = {"next_at": clock() + pause}
        row = sa.update(OUTBOX).where(OUTBOX.c.id == event.id)
        self.database.change(row.values(tries=event.tries + 1, problem=problem[:300], **values))
