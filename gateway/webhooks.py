"""Webhooks: one POST for each event in the outbox, signed, tried again with growing pauses for a day."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from .database import JOBS, OUTBOX, Database, clock, now
from .dial import Dialer, DialRefused
from .records import Job, job_of
from .signing import WebhookSigner

_GIVE_UP_S = 24 * 3600.0
_LEASE_S = 60.0
_IDLE_S = 1.0
_AT_ONCE = 32
_SHARE = 4  # of one owner
log = logging.getLogger(__name__)
Payload = Callable[[Job, str], Mapping[str, Any]]


class WebhookSender:
    """Delivers what the outbox holds. Never in a job's way; several gateways share the outbox by leases.

    An owner has a share of what is sent at a time, so that one whose receivers hang delays nobody else's.
    """

    def __init__(self, database: Database, dialer: Dialer, signer: WebhookSigner, payload: Payload) -> None:
        self.database, self.dialer, self.signer, self.payload = database, dialer, signer, payload
        self.sent = 0
        self.failed = 0
        self._sending: dict[asyncio.Task[None], str] = {}

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            try:
                await self.deliver_due()
            except Exception as error:  # noqa: BLE001 - the loop must outlive a database that is away
                log.error("webhooks failed; tried again", extra={"problem": f"{type(error).__name__}: {error}"[:300]})
            ended = list(self._sending) or [asyncio.ensure_future(asyncio.sleep(_IDLE_S))]
            await asyncio.wait(ended, timeout=_IDLE_S, return_when=asyncio.FIRST_COMPLETED)

    async def deliver_due(self) -> None:
        """Begin to deliver what is due now."""
        busy = Counter(self._sending.values())
        for owner, item in await asyncio.to_thread(self._lease, busy):
            task = asyncio.create_task(self._deliver(*item))
            self._sending[task] = owner
            task.add_done_callback(self._sending.pop)

    def waiting(self) -> tuple[int, float]:
        """How many deliveries wait, and how old the oldest is, in seconds."""
        with self.database.read() as connection:
            query = sa.select(sa.func.count(), sa.func.min(OUTBOX.c.created_at)).where(OUTBOX.c.state == "waiting")
            number, oldest = connection.execute(query).one()
        return int(number), 0.0 if oldest is None else max(0.0, now() - oldest)

    def _lease(self, busy: Counter[str]) -> list[tuple[str, tuple[str, str, int, float, Job]]]:
        """What to send now, with its owner, beside what is being sent."""
        full = [owner for owner, number in busy.items() if number >= _SHARE]
        turn = sa.func.row_number().over(partition_by=JOBS.c.owner, order_by=OUTBOX.c.next_at)
        due = (
            sa.select(OUTBOX.c.id, JOBS.c.owner, turn.label("turn"))
            .join(JOBS, JOBS.c.id == OUTBOX.c.job)
            .where(OUTBOX.c.state == "waiting", OUTBOX.c.next_at <= clock(), JOBS.c.owner.not_in(full))
            .subquery()
        )
        query = sa.select(due).where(due.c.turn <= _SHARE).order_by(due.c.turn).limit(_AT_ONCE - busy.total())
        leased = []
        with self.database.read() as connection:
            found = connection.execute(query).all() if busy.total() < _AT_ONCE else []
        for row in found:
            busy[row.owner] += 1
            if busy[row.owner] > _SHARE:
                continue
            with self.database.write() as connection:
                mine = sa.and_(OUTBOX.c.id == row.id, OUTBOX.c.state == "waiting", OUTBOX.c.next_at <= clock())
                taken = connection.execute(
                    sa.update(OUTBOX).where(mine).values(next_at=clock() + _LEASE_S).returning(*OUTBOX.c)
                ).first()
                job = connection.execute(sa.select(JOBS).where(JOBS.c.id == taken.job)).first() if taken else None
            if taken is not None and job is not None:
                leased.append((row.owner, (taken.id, taken.event, taken.tries, taken.created_at, job_of(job))))
        return leased

    async def _deliver(self, delivery: str, event: str, tries: int, created_at: float, job: Job) -> None:
        body = json.dumps(self.payload(job, event)).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "wan-flf2v-gateway",
            **await asyncio.to_thread(self.signer.headers, job.owner, job.api, delivery, body),
        }
        try:
            status = await self.dialer.post(job.webhook, body, headers)
            problem = "" if 200 <= status < 300 else f"HTTP {status}"
        except DialRefused as error:
            problem = str(error)
        await asyncio.to_thread(self._note, delivery, tries + 1, created_at, problem)

    def _note(self, delivery: str, tries: int, created_at: float, problem: str) -> None:
        pause = min(3600.0, 2.0**tries) * random.uniform(0.7, 1.3)
        if not problem:
            values: dict[str, Any] = {"state": "sent"}
            self.sent += 1
        elif now() + pause - created_at > _GIVE_UP_S:
            values = {"state": "dead"}
            self.failed += 1
        else:
            values = {"next_at": clock() + pause}
        with self.database.write() as connection:
            row = sa.update(OUTBOX).where(OUTBOX.c.id == delivery)
            connection.execute(row.values(tries=tries, problem=problem[:300], **values))
