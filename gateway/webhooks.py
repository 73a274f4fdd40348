"""Webhooks: one POST for each event in the outbox, signed, tried again with growing pauses for a day."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from .database import JOBS, OUTBOX, Database, now
from .dial import Dialer, DialRefused
from .records import Job, job_of
from .signing import WebhookSigner

_GIVE_UP_S = 24 * 3600.0
_LEASE_S = 60.0
_IDLE_S = 1.0
log = logging.getLogger(__name__)
Payload = Callable[[Job, str], Mapping[str, Any]]


class WebhookSender:
    """Delivers what the outbox holds. Never in a job's way; several gateways share the outbox by leases."""

    def __init__(self, database: Database, dialer: Dialer, signer: WebhookSigner, payload: Payload) -> None:
        self.database, self.dialer, self.signer, self.payload = database, dialer, signer, payload
        self.sent = 0
        self.failed = 0

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            try:
                busy = await self.deliver_due()
            except Exception as error:  # noqa: BLE001 - the loop must outlive a database that is away
                log.error("webhooks failed; tried again", extra={"problem": f"{type(error).__name__}: {error}"[:300]})
                busy = False
            if not busy:
                await asyncio.sleep(_IDLE_S)

    async def deliver_due(self) -> bool:
        """Deliver what is due now, ten at a time; whether there was anything."""
        due = await asyncio.to_thread(self._lease)
        await asyncio.gather(*(self._deliver(*item) for item in due))
        return bool(due)

    def waiting(self) -> tuple[int, float]:
        """How many deliveries wait, and how old the oldest is, in seconds."""
        with self.database.read() as connection:
            query = sa.select(sa.func.count(), sa.func.min(OUTBOX.c.created_at)).where(OUTBOX.c.state == "waiting")
            number, oldest = connection.execute(query).one()
        return int(number), 0.0 if oldest is None else max(0.0, now() - oldest)

    def _lease(self) -> list[tuple[str, str, int, float, Job]]:
        with self.database.write() as connection:
            query = (
                sa.select(OUTBOX)
                .where(OUTBOX.c.state == "waiting", OUTBOX.c.next_at <= now())
                .order_by(OUTBOX.c.next_at)
                .limit(10)
            )
            rows = connection.execute(query if self.database.sqlite else query.with_for_update(skip_locked=True)).all()
            due = []
            for row in rows:
                job = connection.execute(sa.select(JOBS).where(JOBS.c.id == row.job)).first()
                if job is not None:
                    due.append((row.id, row.event, row.tries, row.created_at, job_of(job)))
            leased = OUTBOX.c.id.in_([row.id for row in rows])
            connection.execute(sa.update(OUTBOX).where(leased).values(next_at=now() + _LEASE_S))
        return due

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
            values = {"next_at": now() + pause}
        with self.database.write() as connection:
            row = sa.update(OUTBOX).where(OUTBOX.c.id == delivery)
            connection.execute(row.values(tries=tries, problem=problem[:300], **values))
