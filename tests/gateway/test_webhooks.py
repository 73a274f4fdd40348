"""Webhooks: sent until they are taken or a day has passed, by one gateway at a time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa

from wan_flf2v.gateway.attempts import AttemptStore
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.queue import ticket_of
from wan_flf2v.gateway.service import JobService
from wan_flf2v.gateway.settings import Settings
from wan_flf2v.gateway.tables import JOBS, OUTBOX
from wan_flf2v.gateway.webhooks import WebhookSender

from .local import new_job


def test_a_webhook_that_never_arrives_is_given_up_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database, no = Database(f"sqlite:///{tmp_path}/jobs.sqlite"), cast(Any, None)
    service, began = JobService(Settings(data=tmp_path), database), time.time()
    sender = WebhookSender(service, no)
    ages = {"new": 0, "often": 0, "young": 86400 - 60, "old": 86400}
    with database.write() as connection:
        for name, age in ages.items():
            row = {"id": name, "job": name, "event": "succeeded", "next_at": began, "created_at": began - age}
            connection.execute(sa.insert(OUTBOX).values(tries=30 if name == "often" else 0, **row))
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time", lambda: began + 365 * 86400)  # this machine's clock; the database's counts
        for event in database.rows(sa.select(OUTBOX)):
            sender._note(event, "HTTP 500")
        assert 86000 <= sender.waiting()[1] < 2 * 86400
    with database.read() as connection:
        rows = {row.id: row for row in connection.execute(sa.select(OUTBOX))}
    assert {row.problem for row in rows.values()} == {"HTTP 500"}
    assert {name: row.state for name, row in rows.items()} == dict.fromkeys(ages, "waiting") | {"old": "dead"}
    took = time.time() - began + 1
    assert 2 * 0.7 - 1 <= rows["new"].next_at - began <= 2 * 1.3 + took, "a moment, then twice as long each time"
    assert 3600 * 0.7 - 1 <= rows["often"].next_at - began <= 3600 * 1.3 + took, "but an hour at most"
    assert (sender.failed, sender.sent) == (1, 0)
    service.close()


def test_a_webhook_is_delivered_when_its_receiver_takes_it_and_else_sent_again(tmp_path: Path) -> None:
    class Receiver:
        async def post(self, url: str, *_: object) -> int:
            return int(url.rpartition("/")[2])

    statuses = (200, 204, 299, 199, 300, 302, 307, 400, 404, 410, 429, 499, 500, 503)
    service = JobService(Settings(data=tmp_path), Database(f"sqlite:///{tmp_path}/jobs.sqlite"))
    for status in statuses:
        job = new_job(f"key {status}", webhook=f"https://hook.example/{status}")
        service.jobs.add([job], 100, 100)
        assert service.jobs.cancel(job.id, job.owner) == "cancelled"
    sender = WebhookSender(service, lambda job, event: {"job": job.id, "event": event})
    sender.dialer = cast(Any, Receiver())

    async def deliver() -> None:
        while any(not row.tries for row in sender.database.rows(sa.select(OUTBOX.c.tries))):
            await sender.deliver_due()

    asyncio.run(deliver())
    query = sa.select(JOBS.c.webhook, OUTBOX.c.state, OUTBOX.c.problem).join(OUTBOX, OUTBOX.c.job == JOBS.c.id)
    found = {int(row.webhook.rpartition("/")[2]): (row.state, row.problem) for row in sender.database.rows(query)}
    assert found == {
        status: ("sent", "") if 200 <= status < 300 else ("waiting", f"HTTP {status}") for status in statuses
    }
    service.close()


def test_what_a_webhook_could_not_be_told_of_a_job_is_not_told_after_its_end(tmp_path: Path) -> None:
    """Regression: the word that a job had begun, sent again, came after the word that it had ended."""
    service = JobService(Settings(data=tmp_path), Database(f"sqlite:///{tmp_path}/jobs.sqlite"))
    sender = WebhookSender(service, lambda job, event: {})
    attempts = AttemptStore(service.jobs.database, service.jobs.queue, 3)
    jobs = [new_job(webhook="https://hook.example/", webhook_all=True) for _ in range(3)]
    service.jobs.add(jobs, 10, 10)
    for number, job in enumerate(jobs):
        claim = attempts.claim(ticket_of(job.id, 1), "w1")
        assert claim is not None
        if number:
            [(event, _)] = sender._lease(Counter())  # it is being sent; the first was not tried yet
        if number == 1:
            sender._note(event, "HTTP 500")
        assert attempts.finish(claim, "succeeded")
        told = service.jobs.database.rows(sa.select(OUTBOX.c.event).where(OUTBOX.c.job == job.id))
        assert [row.event for row in told] == ["succeeded"]
        service.jobs.database.change(sa.update(OUTBOX).values(state="sent"))
    service.close()


def test_a_webhook_that_is_being_sent_is_sent_by_no_gateway_again(tmp_path: Path) -> None:
    calls: list[str] = []

    class Hangs:
        async def post(self, url: str, *_: object) -> int:
            calls.append(url)
            await asyncio.sleep(600)
            return 200

    service = JobService(Settings(data=tmp_path), Database(f"sqlite:///{tmp_path}/jobs.sqlite"))
    job = new_job(webhook="https://hook.example/")
    service.jobs.add([job], 10, 10)
    service.jobs.cancel(job.id, "me")
    senders = [WebhookSender(service, lambda job, event: {}) for _ in range(2)]
    for sender in senders:
        sender.dialer = cast(Any, Hangs())

    async def deliver() -> None:
        for sender in (*senders, *senders):
            await sender.deliver_due()

    asyncio.run(deliver())
    assert calls == ["https://hook.example/"]
    service.close()
