"""Attempts at jobs, the workers' side of the tables, and how a job ends. Every change is fenced by the attempt's number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from .assets import disown
from .database import ASSETS, ATTEMPTS, JOBS, OUTBOX, Database, new_id, now
from .records import OPEN_STATES, Claim, State


class AttemptStore:
    """Begins, follows and ends attempts. Blocking; callers in an event loop use a thread."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def claim(self, job_id: str, worker: str, attempts: int) -> Claim | None:
        """Begin the next attempt; None when the job is over. The job fails here when its attempts are used up."""
        with self.database.write() as connection:
            row = locked(connection, job_id)
            if row is None or row.state not in OPEN_STATES:
                return None
            if row.cancel:
                end_job(connection, row, "cancelled", error="Cancelled by the client.")
                return None
            if row.attempt >= attempts:
                text = f"The job was lost {row.attempt} times, each time with its ComfyUI or worker; it was given up."
                end_job(connection, row, "failed", error=text)
                return None
            claim = Claim(job_id, row.attempt + 1, worker)
            connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.id == job_id)
                .values(
                    state="running",
                    attempt=claim.attempt,
                    worker=worker,
                    started_at=row.started_at or now(),
                    stage="Starting",
                    progress=0.0,
                )
            )
            connection.execute(
                sa.insert(ATTEMPTS).values(
                    job=job_id, attempt=claim.attempt, worker=worker, prompt=claim.prompt_id, started_at=now()
                )
            )
            if row.state == "queued" and row.webhook and row.webhook_all:
                _tell(connection, job_id, "in_progress")
            return claim

    def beat(self, claim: Claim, stage: str, progress: float) -> Literal["go", "cancel", "fenced"]:
        """Write an attempt's progress; says whether it should go on, be cancelled, or is no longer this job's."""
        with self.database.write() as connection:
            row = connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.id == claim.job, JOBS.c.state == "running")
                .where(JOBS.c.attempt == claim.attempt, JOBS.c.worker == claim.worker)
                .values(stage=stage, progress=sa.case((JOBS.c.progress > progress, JOBS.c.progress), else_=progress))
                .returning(JOBS.c.cancel)
            ).first()
        return "fenced" if row is None else "cancel" if row.cancel else "go"

    def check(self, claim: Claim) -> Literal["go", "cancel", "fenced"]:
        """As ``beat``, without writing."""
        query = sa.select(JOBS.c.state, JOBS.c.attempt, JOBS.c.worker, JOBS.c.cancel).where(JOBS.c.id == claim.job)
        with self.database.read() as connection:
            row = connection.execute(query).first()
        if row is None or (row.state, row.attempt, row.worker) != ("running", claim.attempt, claim.worker):
            return "fenced"
        return "cancel" if row.cancel else "go"

    def close(self, claim: Claim, outcome: str) -> None:
        """Note how an attempt ended without ending its job."""
        with self.database.write() as connection:
            _close(connection, claim.job, claim.attempt, outcome)

    def finish(self, claim: Claim, state: State, *, outputs: Sequence[Mapping[str, Any]] = (), error: str = "") -> bool:
        """End the job by this attempt; False when the attempt is no longer the job's, and then nothing is written."""
        with self.database.write() as connection:
            row = locked(connection, claim.job)
            if row is None or (row.state, row.attempt, row.worker) != ("running", claim.attempt, claim.worker):
                return False
            end_job(connection, row, state, outputs=outputs, error=error)
            return True


def locked(connection: Connection, job_id: str) -> Row[Any] | None:
    """A job's row, which no other transaction changes until this one ends; SQLite has one writer at a time anyway."""
    return connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id).with_for_update()).first()


def end_job(
    connection: Connection,
    row: Row[Any],
    state: State,
    *,
    outputs: Sequence[Mapping[str, Any]] = (),
    error: str = "",
) -> None:
    """End a job in this transaction: its row, its open attempt, and the webhook that tells of it."""
    connection.execute(
        sa.update(JOBS)
        .where(JOBS.c.id == row.id)
        .values(
            state=state,
            outputs=[dict(output) for output in outputs],
            error=error,
            finished_at=now(),
            stage="",
            progress=1.0 if state == "succeeded" else row.progress,
        )
    )
    # A worker that died between storing a video and this leaves a row that no answer names.
    kept = [str(output["asset"]) for output in outputs]
    disown(connection, sa.and_(ASSETS.c.job == row.id, ASSETS.c.id.not_in(kept)))
    _close(connection, row.id, row.attempt, state)
    if row.webhook:
        _tell(connection, row.id, state)


def _close(connection: Connection, job: str, attempt: int, outcome: str) -> None:
    connection.execute(
        sa.update(ATTEMPTS)
        .where(ATTEMPTS.c.job == job, ATTEMPTS.c.attempt == attempt, ATTEMPTS.c.ended_at.is_(None))
        .values(ended_at=now(), outcome=outcome)
    )


def _tell(connection: Connection, job: str, event: str) -> None:
    row = {"id": new_id(), "job": job, "event": event, "next_at": now(), "created_at": now()}
    connection.execute(sa.insert(OUTBOX).values(**row))
