"""The jobs table: accept, show, claim, follow, finish and cancel. Every change is one transaction, fenced by attempt."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from .database import ATTEMPTS, IDEMPOTENCY, JOBS, OUTBOX, Database, new_id, now

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
OPEN_STATES = ("queued", "running")
_NAMESPACE = uuid.UUID("6d9c7f0e-6b1f-4b51-9d0f-6f6c66326676")


@dataclass(frozen=True)
class NewJob:
    """A checked request. ``values`` go to the workflow, ``shown`` is what the client sent (pictures as links)."""

    owner: str
    api: Literal["model", "serverless", "wavespeed"]
    model: str
    workflow: str
    values: Mapping[str, Any]
    shown: Mapping[str, Any]
    webhook: str = ""
    webhook_all: bool = False
    idempotency_key: str = ""
    digest: str = ""
    id: str = field(default_factory=new_id)


@dataclass(frozen=True)
class Job:
    """One job as the table has it."""

    seq: int
    id: str
    owner: str
    api: str
    model: str
    workflow: str
    values: Mapping[str, Any]
    shown: Mapping[str, Any]
    state: State
    attempt: int
    worker: str
    cancel: bool
    stage: str
    progress: float
    outputs: Sequence[Mapping[str, Any]]
    error: str
    webhook: str
    webhook_all: bool
    created_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state not in OPEN_STATES


@dataclass(frozen=True)
class Claim:
    """One attempt at a job: who makes it, under which prompt id."""

    job: str
    attempt: int
    worker: str

    @property
    def prompt_id(self) -> str:
        """The same for the same attempt, so that a submit whose answer was lost can be looked up."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.job}/{self.attempt}"))


Verdict = Literal["accepted", "repeated", "reused", "full"]


class JobStore:
    """Reads and writes jobs. Blocking; callers in an event loop use a thread."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, jobs: Sequence[NewJob], limit: int) -> list[tuple[Verdict, str]]:
        """Accept jobs in one transaction; for each the verdict and the id of the job that stands for it.

        ``repeated``: the same idempotency key with the same body, so the first job answers; ``reused``: with another.
        """
        verdicts: list[tuple[Verdict, str]] = []
        with self.database.write() as connection:
            room = limit - _count(connection, "queued")
            rows: list[dict[str, Any]] = []
            for job in jobs:
                known = _known(connection, job) if job.idempotency_key else None
                if known is not None:
                    verdicts.append(("repeated" if known.digest == job.digest else "reused", known.job))
                elif len(rows) >= room:
                    verdicts.append(("full", ""))
                else:
                    if job.idempotency_key:
                        connection.execute(
                            sa.insert(IDEMPOTENCY).values(
                                owner=job.owner,
                                key=job.idempotency_key,
                                digest=job.digest,
                                job=job.id,
                                created_at=now(),
                            )
                        )
                    rows.append(_row(job))
                    verdicts.append(("accepted", job.id))
            if rows:
                connection.execute(sa.insert(JOBS), rows)
        return verdicts

    def get(self, job_id: str, owner: str | None = None) -> Job | None:
        """One job, or None when there is none (or it belongs to another key)."""
        query = sa.select(JOBS).where(JOBS.c.id == job_id)
        if owner is not None:
            query = query.where(JOBS.c.owner == owner)
        with self.database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else job_of(row)

    def page(
        self,
        owner: str,
        *,
        limit: int = 100,
        offset: int = 0,
        api: str | None = None,
        states: Sequence[str] = (),
        after: float | None = None,
        before: float | None = None,
    ) -> list[Job]:
        """A key's jobs, newest first."""
        query = sa.select(JOBS).where(JOBS.c.owner == owner).order_by(JOBS.c.seq.desc()).limit(limit).offset(offset)
        for condition in (
            None if api is None else JOBS.c.api == api,
            JOBS.c.state.in_(states) if states else None,
            None if after is None else JOBS.c.created_at >= after,
            None if before is None else JOBS.c.created_at <= before,
        ):
            if condition is not None:
                query = query.where(condition)
        with self.database.read() as connection:
            return [job_of(row) for row in connection.execute(query)]

    def position(self, job: Job) -> int:
        """How many queued jobs are before this one, and itself: 1 is next."""
        with self.database.read() as connection:
            query = sa.select(sa.func.count()).where(JOBS.c.state == "queued", JOBS.c.seq < job.seq)
            return int(connection.execute(query).scalar_one()) + 1

    def counts(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(JOBS.c.state, sa.func.count()).group_by(JOBS.c.state))
            return {state: int(number) for state, number in rows}

    def oldest_queued(self) -> float | None:
        """When the job that has waited longest came in."""
        with self.database.read() as connection:
            query = sa.select(sa.func.min(JOBS.c.created_at)).where(JOBS.c.state == "queued")
            found: float | None = connection.execute(query).scalar()
            return found

    def unfed(self, limit: int) -> list[str]:
        """The next queued jobs that the engine has not been given yet."""
        query = (
            sa.select(JOBS.c.id)
            .where(JOBS.c.state == "queued", JOBS.c.fed.is_(False))
            .order_by(JOBS.c.seq)
            .limit(limit)
        )
        with self.database.read() as connection:
            return [str(job) for job in connection.execute(query).scalars()]

    def mark_fed(self, job_ids: Sequence[str], fed: bool = True) -> None:
        """Note that the engine has these jobs now (or, in a repair, that it has not)."""
        with self.database.write() as connection:
            connection.execute(sa.update(JOBS).where(JOBS.c.id.in_(job_ids)).values(fed=fed))

    def open_fed(self) -> list[str]:
        """Every job that has not ended and that the engine should know."""
        query = sa.select(JOBS.c.id).where(JOBS.c.state.in_(OPEN_STATES), JOBS.c.fed.is_(True))
        with self.database.read() as connection:
            return [str(job) for job in connection.execute(query).scalars()]

    def claim(self, job_id: str, worker: str, attempts: int) -> Claim | None:
        """Begin the next attempt; None when the job is over. The job fails here when its attempts are used up."""
        with self.database.write() as connection:
            row = self._locked(connection, job_id)
            if row is None or row.state not in OPEN_STATES:
                return None
            if row.cancel:
                self._end(connection, row, "cancelled", error="Cancelled by the client.")
                return None
            if row.attempt >= attempts:
                text = f"The job was lost {row.attempt} times, each time with its ComfyUI or worker; it was given up."
                self._end(connection, row, "failed", error=text)
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
                _post(connection, job_id, "in_progress")
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
        job = self.get(claim.job)
        if job is None or (job.state, job.attempt, job.worker) != ("running", claim.attempt, claim.worker):
            return "fenced"
        return "cancel" if job.cancel else "go"

    def close_attempt(self, claim: Claim, outcome: str) -> None:
        """Note how an attempt ended without ending its job."""
        with self.database.write() as connection:
            _close_attempt(connection, claim.job, claim.attempt, outcome)

    def finish(self, claim: Claim, state: State, *, outputs: Sequence[Mapping[str, Any]] = (), error: str = "") -> bool:
        """End the job by this attempt; False when the attempt is no longer the job's, and then nothing is written."""
        with self.database.write() as connection:
            row = self._locked(connection, claim.job)
            if row is None or (row.state, row.attempt, row.worker) != ("running", claim.attempt, claim.worker):
                return False
            self._end(connection, row, state, outputs=outputs, error=error)
            return True

    def cancel(self, job_id: str, owner: str) -> Literal["cancelled", "cancelling", "over", "unknown"]:
        """Cancel a job: a queued one ends here, of a running one the worker is told."""
        with self.database.write() as connection:
            row = self._locked(connection, job_id)
            if row is None or row.owner != owner:
                return "unknown"
            if row.state not in OPEN_STATES:
                return "over"
            if row.state == "queued":
                self._end(connection, row, "cancelled", error="Cancelled by the client.")
                return "cancelled"
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(cancel=True))
            return "cancelling"

    def fail_open(self, job_id: str, error: str) -> bool:
        """End a job that nothing drives any more; whether it was still open."""
        with self.database.write() as connection:
            row = self._locked(connection, job_id)
            if row is None or row.state not in OPEN_STATES:
                return False
            self._end(connection, row, "cancelled" if row.cancel else "failed", error=error)
            return True

    def delete(self, job_ids: Sequence[str], owner: str) -> list[str]:
        """Forget a key's jobs that are over; returns which were."""
        with self.database.write() as connection:
            mine = sa.and_(JOBS.c.id.in_(job_ids), JOBS.c.owner == owner, JOBS.c.state.not_in(OPEN_STATES))
            found = [str(job) for job in connection.execute(sa.select(JOBS.c.id).where(mine)).scalars()]
            _forget(connection, found)
        return found

    def expired(self, before: float, limit: int = 200) -> list[str]:
        """Jobs that ended before this time."""
        query = sa.select(JOBS.c.id).where(JOBS.c.finished_at < before).limit(limit)
        with self.database.read() as connection:
            return [str(job) for job in connection.execute(query).scalars()]

    def forget(self, job_ids: Sequence[str]) -> None:
        """Remove jobs from every table, whoever owns them."""
        with self.database.write() as connection:
            _forget(connection, job_ids)

    def attempts(self, job_id: str) -> list[Row[Any]]:
        """Every attempt at a job, in order."""
        query = sa.select(ATTEMPTS).where(ATTEMPTS.c.job == job_id).order_by(ATTEMPTS.c.attempt)
        with self.database.read() as connection:
            return list(connection.execute(query))

    def _locked(self, connection: Connection, job_id: str) -> Row[Any] | None:
        query = sa.select(JOBS).where(JOBS.c.id == job_id)
        return connection.execute(query if self.database.sqlite else query.with_for_update()).first()

    def _end(
        self,
        connection: Connection,
        row: Row[Any],
        state: State,
        *,
        outputs: Sequence[Mapping[str, Any]] = (),
        error: str = "",
    ) -> None:
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
        _close_attempt(connection, row.id, row.attempt, state)
        if row.webhook:
            _post(connection, row.id, state)


def _count(connection: Connection, state: str) -> int:
    return int(connection.execute(sa.select(sa.func.count()).where(JOBS.c.state == state)).scalar_one())


def _known(connection: Connection, job: NewJob) -> Row[Any] | None:
    query = sa.select(IDEMPOTENCY).where(IDEMPOTENCY.c.owner == job.owner, IDEMPOTENCY.c.key == job.idempotency_key)
    return connection.execute(query).first()


def _row(job: NewJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "owner": job.owner,
        "api": job.api,
        "model": job.model,
        "workflow": job.workflow,
        "values": dict(job.values),
        "shown": dict(job.shown),
        "webhook": job.webhook,
        "webhook_all": job.webhook_all,
        "state": "queued",
        "created_at": now(),
    }


def job_of(row: Row[Any]) -> Job:
    data = dict(row._mapping)
    data.pop("fed")
    return Job(**data)


def _close_attempt(connection: Connection, job: str, attempt: int, outcome: str) -> None:
    connection.execute(
        sa.update(ATTEMPTS)
        .where(ATTEMPTS.c.job == job, ATTEMPTS.c.attempt == attempt, ATTEMPTS.c.ended_at.is_(None))
        .values(ended_at=now(), outcome=outcome)
    )


def _post(connection: Connection, job: str, event: str) -> None:
    row = {"id": new_id(), "job": job, "event": event, "next_at": now(), "created_at": now()}
    connection.execute(sa.insert(OUTBOX).values(**row))


def _forget(connection: Connection, job_ids: Sequence[str]) -> None:
    for column in (JOBS.c.id, ATTEMPTS.c.job, IDEMPOTENCY.c.job, OUTBOX.c.job):
        connection.execute(sa.delete(column.table).where(column.in_(job_ids)))
