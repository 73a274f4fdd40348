"""Attempts at jobs, the workers' side of the tables, and how a job ends. Every change is fenced by the attempt's number."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from .assets import disown
from .database import Database, clock, new_id
from .queue import FIRST, JobQueue, job_of_ticket, ticket_of
from .tables import ASSETS, ATTEMPTS, JOBS, OPEN_STATES, OUTBOX, Job, State

Outputs = Sequence[Mapping[str, Any]]
LOST = "lost: "  # how the outcome of an attempt begins that counts against a job's few attempts
_NAMESPACE = uuid.UUID("6d9c7f0e-6b1f-4b51-9d0f-6f6c66326676")
CANCELLED = "Cancelled by the client."


@dataclass(frozen=True)
class Claim:
    """One attempt at a job: who makes it, under which prompt id; ``resumed`` when it was begun by an earlier process."""

    job: str
    attempt: int
    worker: str
    ticket: str = ""
    resumed: bool = False

    @property
    def prompt_id(self) -> str:
        """The same for the same attempt, so that a submit whose answer was lost can be looked up."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.job}/{self.attempt}"))

    def counts_for(self, row: Job | Row[Any]) -> bool:
        """Whether it is this attempt at the job that counts now."""
        return (row.state, row.attempt, row.worker) == ("running", self.attempt, self.worker)


class AttemptStore:
    """Begins, follows and ends attempts. Blocking; callers in an event loop use a thread."""

    def __init__(self, database: Database, queue: JobQueue, limit: int) -> None:
        self.database, self.queue, self.limit = database, queue, limit

    def claim(self, ticket: str, worker: str) -> Claim | None:
        """Begin the next attempt at a ticket's job, or go on with this worker's own; None when there is nothing to do."""
        with self.database.write() as connection:
            row = _current(connection, ticket)
            if row is None or row.worker not in ("", worker):
                return None
            if row.worker:
                return Claim(row.id, row.attempt, worker, ticket, resumed=True)
            if row.cancel:
                end_job(connection, row, "cancelled", CANCELLED)
                return None
            claim = Claim(row.id, row.attempt + 1, worker, ticket)
            made: dict[str, Any] = {"attempt": claim.attempt, "worker": worker}
            begun = {"state": "running", "stage": "Starting", "progress": 0.0, **made}
            started = sa.func.coalesce(JOBS.c.started_at, clock())
            connection.execute(sa.update(JOBS).where(JOBS.c.id == row.id).values(started_at=started, **begun))
            attempt = {"job": row.id, "prompt": claim.prompt_id, **made}
            connection.execute(sa.insert(ATTEMPTS).values(started_at=clock(), **attempt))
            if row.state == "queued" and row.webhook and row.webhook_all:
                _tell(connection, row.id, "in_progress")
            return claim

    def beat(self, claim: Claim, stage: str, progress: float) -> Literal["go", "cancel", "fenced"]:
        """Write an attempt's progress; says whether it should go on, be cancelled, or is no longer this job's."""
        mine = sa.and_(JOBS.c.id == claim.job, JOBS.c.state == "running", JOBS.c.attempt == claim.attempt)
        most = sa.case((JOBS.c.progress > progress, JOBS.c.progress), else_=progress)
        told = sa.update(JOBS).where(mine, JOBS.c.worker == claim.worker).values(stage=stage, progress=most)
        with self.database.write() as connection:
            row = connection.execute(told.returning(JOBS.c.cancel)).first()
        return "fenced" if row is None else "cancel" if row.cancel else "go"

    def age(self, claim: Claim) -> float:
        """For how long an attempt has gone on, in seconds."""
        query = sa.select(clock() - ATTEMPTS.c.started_at).where(_open(claim.job, claim.attempt))
        return max(0.0, (self.database.first(query) or (0.0,))[0])

    def mark_stopping(self, claim: Claim, stopping: bool = True) -> None:
        """Note that this attempt's worker is being stopped in an orderly way: cut off now, it counts for nothing."""
        outcome = "stopped" if stopping else ""
        self.database.change(sa.update(ATTEMPTS).where(_open(claim.job, claim.attempt)).values(outcome=outcome))

    def give_back(self, ticket: str, worker: str, why: str) -> bool:
        """Put a ticket's job back, first in line, or end one lost too often; False when the ticket counts no more."""
        with self.queue.write() as connection:
            row = _current(connection, ticket)
            if row is None or row.worker not in ("", worker):
                return False
            if row.worker:
                _close(connection, row.id, row.attempt, f"{LOST}{why}"[:500])
            lost = sa.select(sa.func.count()).where(ATTEMPTS.c.job == row.id, ATTEMPTS.c.outcome.startswith(LOST))
            number = connection.execute(lost).scalar_one()
            if row.cancel:
                end_job(connection, row, "cancelled", CANCELLED)
            elif number >= self.limit:
                text = f"The job was lost {number} times, each time with its ComfyUI or worker; it was given up. {why}"
                end_job(connection, row, "failed", text[:600])
            else:
                again = ticket_of(row.id, job_of_ticket(ticket)[1] + 1)
                values = {"worker": "", "stage": "Waiting for a worker", "turn": FIRST, "ticket": again}
                connection.execute(sa.update(JOBS).where(JOBS.c.id == row.id).values(**values))
                self.queue.put(connection, again, row.queue, FIRST)
            return True

    def finish(self, claim: Claim, state: State, error: str = "", outputs: Outputs = ()) -> bool:
        """End the job by this attempt; False when the attempt is no longer the job's, and then nothing is written."""
        with self.database.write() as connection:
            row = locked(connection, claim.job)
            if row is None or not claim.counts_for(row):
                ended = (claim.attempt, claim.worker, state, [*map(dict, outputs)])  # before, and the answer was lost
                return row is not None and (row.attempt, row.worker, row.state, row.outputs) == ended
            if row.cancel:  # whoever asked was told so
                state, error, outputs = "cancelled", CANCELLED, ()
            end_job(connection, row, state, error, outputs)
            return True


def _current(connection: Connection, ticket: str) -> Row[Any] | None:
    """The locked row of a ticket's open job; None when the job is over or has another ticket."""
    row = locked(connection, job_of_ticket(ticket)[0])
    return row if row is not None and row.state in OPEN_STATES and row.ticket == ticket else None


def locked(connection: Connection, job_id: str) -> Row[Any] | None:
    """A job's row, which no other transaction changes until this one ends; SQLite has one writer at a time anyway."""
    return connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id).with_for_update()).first()


def end_job(connection: Connection, row: Row[Any], state: State, error: str, outputs: Outputs = ()) -> None:
    """End a job in this transaction: its row, its open attempt, and the webhook that tells of it."""
    values = {"state": state, "outputs": [dict(output) for output in outputs], "error": error, "stage": ""}
    progress = 1.0 if state == "succeeded" else row.progress
    ended = sa.update(JOBS).where(JOBS.c.id == row.id).values(finished_at=clock(), progress=progress, **values)
    connection.execute(ended)
    # A worker that died between storing a video and this leaves a row that no answer names.
    kept = [str(output["asset"]) for output in outputs]
    disown(connection, sa.and_(ASSETS.c.job == row.id, ASSETS.c.id.not_in(kept)))
    _close(connection, row.id, row.attempt, state)
    if row.webhook:
        _tell(connection, row.id, state)


def _close(connection: Connection, job: str, attempt: int, outcome: str) -> None:
    """End an attempt; one that was cut off by an orderly stop keeps that outcome, unless it ended its job after all."""
    stopped = sa.and_(ATTEMPTS.c.outcome == "stopped", sa.literal(outcome.startswith(LOST)))
    kept = sa.case((stopped, ATTEMPTS.c.outcome), else_=outcome)
    connection.execute(sa.update(ATTEMPTS).where(_open(job, attempt)).values(ended_at=clock(), outcome=kept))


def _open(job: str, attempt: int) -> sa.ColumnElement[bool]:
    return sa.and_(ATTEMPTS.c.job == job, ATTEMPTS.c.attempt == attempt, ATTEMPTS.c.ended_at.is_(None))


def _tell(connection: Connection, job: str, event: str) -> None:
    connection.execute(sa.delete(OUTBOX).where(OUTBOX.c.job == job, OUTBOX.c.state == "waiting"))  # no news any more
    connection.execute(sa.insert(OUTBOX).values(id=new_id(), job=job, event=event, next_at=clock(), created_at=clock()))
