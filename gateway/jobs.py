"""The jobs table as clients and the gateway's loops see it: accept, show, cancel, move, forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..workflows import Bindings
from .attempts import CANCELLED, end_job, locked
from .database import Database, clock
from .depths import Depths, next_turn
from .queue import JobQueue, job_of_ticket, queue_of, ticket_of
from .tables import ATTEMPTS, IDEMPOTENCY, JOBS, OPEN_STATES, OUTBOX, Job

NOBODY = ""  # the owner of a job that its key has deleted while it ran
SAFETY = "safety_checker"  # among a job's values: not a field of its workflow, but whether its video is checked
_NO_FIELDS = {SAFETY, "uploads"}
_WAITS = sa.and_(JOBS.c.state.in_(OPEN_STATES), JOBS.c.worker == "")
_STRANDED = "This job was accepted by another release, whose workflow no worker here runs any more. Submit it again."
Api = Literal["model", "serverless", "wavespeed"]
# A key's second submit with the same body or with another; so many jobs wait, or so many of this owner's.
Verdict = Literal["accepted", "repeated", "reused", "full", "share"]


class JobStore:
    """Reads and writes jobs. Blocking; callers in an event loop use a thread."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.queue = JobQueue(database)
        self.depths = Depths(database)

    def ask(self, job: Job, limit: int, share: int) -> tuple[Verdict, str] | None:
        """What ``add`` would say against this job now, before anything is done for it; None for nothing."""
        with self.database.read() as connection:
            known = _known(connection, job)
        if known is not None:
            return known
        with self.depths.counted(limit, share, {job.owner}) as room:
            refused = room.refused(job.owner)
        return None if refused is None else (refused, "")

    def add(self, jobs: Sequence[Job], limit: int, share: int) -> list[tuple[Verdict, str]]:
        """Accept jobs, and queue them, in one transaction; for each the verdict and the id of the job that stands for it."""
        verdicts: list[tuple[Verdict, str]] = []
        turns: dict[tuple[str, str], int] = {}
        with self.depths.counted(limit, share, {job.owner for job in jobs}) as room, self.queue.write() as connection:
            for job in jobs:
                known = _known(connection, job)
                if known is not None:
                    verdicts.append(known)
                    continue
                refused = room.refused(job.owner)
                if refused is not None:
                    verdicts.append((refused, ""))
                    continue
                if job.idempotency_key and not self._reserve(connection, job):  # another gateway was first
                    verdicts.append(_known(connection, job) or ("reused", ""))
                    continue
                room.take(job.owner)
                place = (job.owner, queue_of(job.workflow))
                turn = turns[place] = turns[place] + 1 if place in turns else next_turn(connection, *place)
                job.queue, job.turn, job.ticket = place[1], turn, ticket_of(job.id, 1)
                row = {name: value for name, value in job.columns().items() if name != "seq"}
                connection.execute(sa.insert(JOBS).values({**row, "created_at": clock()}))
                self.queue.put(connection, job.ticket, job.queue, turn)
                verdicts.append(("accepted", job.id))
        return verdicts

    def _reserve(self, connection: Connection, job: Job) -> bool:
        """Take a job's idempotency key; False when it is taken."""
        key = {"owner": job.owner, "key": job.idempotency_key, "digest": job.digest, "created_at": clock()}
        taken = self.database.insert(IDEMPOTENCY, job=job.id, **key).on_conflict_do_nothing()
        return connection.execute(taken.returning(IDEMPOTENCY.c.job)).first() is not None

    def look(self, job_id: str) -> tuple[Job, int | None] | None:
        """One job and, while it is queued, its place, where 1 is next; None when there is no such job."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id)).first()
            if row is None:
                return None
            return Job(**row._mapping), self.depths.place(connection, row) if row.state == "queued" else None

    def get(self, job_id: str) -> Job | None:
        """One job, or None when there is none."""
        row = self.database.first(sa.select(JOBS).where(JOBS.c.id == job_id))
        return None if row is None else Job(**row._mapping)

    def page(self, owner: str, *which: sa.ColumnElement[bool], limit: int = 100, offset: int = 0) -> list[Job]:
        """A key's jobs, newest first: those of which all of this is true."""
        query = sa.select(JOBS).where(JOBS.c.owner == owner, *which).order_by(JOBS.c.seq.desc())
        return [Job(**row._mapping) for row in self.database.rows(query.limit(limit).offset(offset))]

    def counts(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        rows = self.database.rows(sa.select(JOBS.c.state, sa.func.count()).group_by(JOBS.c.state))
        return {state: int(number) for state, number in rows}

    def running(self) -> int:
        """How many jobs run."""
        query = sa.select(sa.func.count()).where(JOBS.c.state == sa.literal_column("'running'"))
        return int(self.database.first(query)[0])

    def cancel(self, job_id: str, owner: str) -> Literal["cancelled", "cancelling", "over", "unknown"]:
        """Cancel a job: a queued one ends here, of a running one the worker is told."""
        with self.database.write() as connection:
            row = locked(connection, job_id)
            if row is None or row.owner != owner:
                return "unknown"
            if row.state not in OPEN_STATES:
                return "over"
            if row.state == "running" and row.worker:
                connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(cancel=True))
                return "cancelling"
            end_job(connection, row, "cancelled", CANCELLED)
        self.queue.drop([row.ticket])
        return "cancelled"

    def queues(self) -> set[str]:
        """The queues in which jobs wait, also for their next attempt."""
        return {row.queue for row in self.database.rows(sa.select(JOBS.c.queue).where(_WAITS).distinct())}

    def move(self, old: str, new: str | None, bindings: Bindings | None, limit: int = 200) -> int:
        """Move jobs to another queue, or refuse those whose fields its workflow has not, or all; how many there were."""
        with self.queue.write() as connection:
            query = sa.select(JOBS).where(_WAITS, JOBS.c.queue == old).order_by(JOBS.c.turn, JOBS.c.seq).limit(limit)
            rows = connection.execute(query.with_for_update()).all()
            for row in rows:
                if new is None or bindings is None or set(row.values) - _NO_FIELDS - set(bindings.every_field):
                    end_job(connection, row, "failed", _STRANDED)
                    continue
                ticket = ticket_of(row.id, job_of_ticket(row.ticket)[1] + 1)
                connection.execute(sa.update(JOBS).where(JOBS.c.id == row.id).values(queue=new, ticket=ticket))
                self.queue.put(connection, ticket, new, row.turn)
        self.queue.drop([row.ticket for row in rows])
        return len(rows)

    def disown(self, job_ids: Sequence[str], owner: str) -> int:
        """Take a key's jobs out of its sight, to be forgotten when they have ended; returns how many there were."""
        mine = sa.and_(JOBS.c.id.in_(job_ids), JOBS.c.owner == owner)
        with self.database.write() as connection:
            connection.execute(sa.delete(IDEMPOTENCY).where(IDEMPOTENCY.c.job.in_(sa.select(JOBS.c.id).where(mine))))
            return connection.execute(sa.update(JOBS).where(mine).values(owner=NOBODY, webhook="")).rowcount

    def ended(self, which: sa.ColumnElement[bool], limit: int = 200) -> list[str]:
        """Jobs that have ended and of which this is true."""
        query = sa.select(JOBS.c.id).where(JOBS.c.state.not_in(OPEN_STATES), which).limit(limit)
        return [row.id for row in self.database.rows(query)]

    def names(self, owner: str, text: str) -> bool:
        """Whether a job of this key has this text among its values."""
        query = sa.select(JOBS.c.id).where(JOBS.c.owner == owner, sa.cast(JOBS.c["values"], sa.Text).contains(text))
        return self.database.first(query.limit(1)) is not None

    def forget(self, job_ids: Sequence[str]) -> None:
        """Remove jobs from every table."""
        with self.database.write() as connection:
            for column in (JOBS.c.id, ATTEMPTS.c.job, IDEMPOTENCY.c.job, OUTBOX.c.job):
                connection.execute(sa.delete(column.table).where(column.in_(job_ids)))


def _known(connection: Connection, job: Job) -> tuple[Verdict, str] | None:
    """What stands under this job's idempotency key already."""
    if not job.idempotency_key:
        return None
    query = sa.select(IDEMPOTENCY).where(IDEMPOTENCY.c.owner == job.owner, IDEMPOTENCY.c.key == job.idempotency_key)
    row = connection.execute(query).first()
    return None if row is None else ("repeated" if row.digest == job.digest else "reused", row.job)
