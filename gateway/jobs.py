"""The jobs table as clients and the gateway's loops see it: accept, show, queue, cancel, forget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from .attempts import end_job, locked
from .database import ATTEMPTS, IDEMPOTENCY, JOBS, OUTBOX, Database, now
from .records import OPEN_STATES, Job, NewJob, job_of

NOBODY = ""  # the owner of a job that its key has deleted while it ran
Verdict = Literal["accepted", "repeated", "reused", "full", "share"]


class JobStore:
    """Reads and writes jobs. Blocking; callers in an event loop use a thread."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def ask(self, job: NewJob, limit: int, share: int) -> tuple[Verdict, str] | None:
        """What ``add`` would say against this job now, before anything is done for it; None for nothing."""
        with self.database.read() as connection:
            known = _known(connection, job)
            if known is not None:
                return known
            if _count(connection, "queued") >= limit:
                return "full", ""
            return ("share", "") if _queued_of(connection, [job.owner])[job.owner] >= share else None

    def add(self, jobs: Sequence[NewJob], limit: int, share: int) -> list[tuple[Verdict, str]]:
        """Accept jobs in one transaction; for each the verdict and the id of the job that stands for it.

        ``repeated``: the same idempotency key with the same body, so the first job answers; ``reused``: with another.
        ``full``: ``limit`` jobs are queued; ``share``: so many of them are this key's.
        """
        verdicts: list[tuple[Verdict, str]] = []
        with self.database.write() as connection:
            room = limit - _count(connection, "queued")
            mine = _queued_of(connection, {job.owner for job in jobs})
            rows: list[dict[str, Any]] = []
            for job in jobs:
                known = _known(connection, job)
                if known is not None:
                    verdicts.append(known)
                elif len(rows) >= room:
                    verdicts.append(("full", ""))
                elif mine[job.owner] >= share:
                    verdicts.append(("share", ""))
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
                    mine[job.owner] += 1
                    verdicts.append(("accepted", job.id))
            if rows:
                connection.execute(sa.insert(JOBS), rows)
        return verdicts

    def look(self, job_ids: Collection[str], waiting: Collection[str]) -> tuple[dict[str, Job], dict[str, int]]:
        """These jobs as far as they are known; and for each of ``waiting`` that is queued its place, where 1 is next."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(JOBS).where(JOBS.c.id.in_(set(job_ids))))
            jobs = {row.id: job_of(row) for row in rows}
            queued = {job.seq: job.id for job in jobs.values() if job.state == "queued" and job.id in waiting}
            return jobs, {queued[seq]: place for seq, place in _places(connection, sorted(queued)).items()}

    def get(self, job_id: str) -> Job | None:
        """One job, or None when there is none."""
        return self.look([job_id], ())[0].get(job_id)

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

    def attempts(self, job_id: str) -> list[Row[Any]]:
        """Every attempt at a job, in order."""
        query = sa.select(ATTEMPTS).where(ATTEMPTS.c.job == job_id).order_by(ATTEMPTS.c.attempt)
        with self.database.read() as connection:
            return list(connection.execute(query))

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

    def cancel(self, job_id: str, owner: str) -> Literal["cancelled", "cancelling", "over", "unknown"]:
        """Cancel a job: a queued one ends here, of a running one the worker is told."""
        with self.database.write() as connection:
            row = locked(connection, job_id)
            if row is None or row.owner != owner:
                return "unknown"
            if row.state not in OPEN_STATES:
                return "over"
            if row.state == "queued":
                end_job(connection, row, "cancelled", error="Cancelled by the client.")
                return "cancelled"
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(cancel=True))
            return "cancelling"

    def fail_open(self, job_id: str, error: str) -> bool:
        """End a job that nothing drives any more; whether it was still open."""
        with self.database.write() as connection:
            row = locked(connection, job_id)
            if row is None or row.state not in OPEN_STATES:
                return False
            end_job(connection, row, "cancelled" if row.cancel else "failed", error=error)
            return True

    def delete(self, job_ids: Sequence[str], owner: str) -> list[str]:
        """Forget a key's jobs that are over; returns which were."""
        with self.database.write() as connection:
            mine = sa.and_(JOBS.c.id.in_(job_ids), JOBS.c.owner == owner, JOBS.c.state.not_in(OPEN_STATES))
            found = [str(job) for job in connection.execute(sa.select(JOBS.c.id).where(mine)).scalars()]
            _forget(connection, found)
        return found

    def disown(self, job_ids: Sequence[str], owner: str) -> int:
        """Take a key's unfinished jobs out of its sight, to be forgotten when they end; returns how many."""
        mine = sa.and_(JOBS.c.id.in_(job_ids), JOBS.c.owner == owner, JOBS.c.state.in_(OPEN_STATES))
        with self.database.write() as connection:
            connection.execute(sa.delete(IDEMPOTENCY).where(IDEMPOTENCY.c.job.in_(sa.select(JOBS.c.id).where(mine))))
            return connection.execute(sa.update(JOBS).where(mine).values(owner=NOBODY, webhook="")).rowcount

    def disowned(self, limit: int = 200) -> list[str]:
        """Jobs that have ended and belong to nobody any more."""
        query = sa.select(JOBS.c.id).where(JOBS.c.owner == NOBODY, JOBS.c.state.not_in(OPEN_STATES)).limit(limit)
        with self.database.read() as connection:
            return [str(job) for job in connection.execute(query).scalars()]

    def names(self, owner: str, text: str) -> bool:
        """Whether a job of this key has this text among its values."""
        query = sa.select(JOBS.c.id).where(JOBS.c.owner == owner, sa.cast(JOBS.c["values"], sa.Text).contains(text))
        with self.database.read() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def expired(self, before: float, limit: int = 200) -> list[str]:
        """Jobs that ended before this time."""
        query = sa.select(JOBS.c.id).where(JOBS.c.finished_at < before).limit(limit)
        with self.database.read() as connection:
            return [str(job) for job in connection.execute(query).scalars()]

    def forget(self, job_ids: Sequence[str]) -> None:
        """Remove jobs from every table, whoever owns them."""
        with self.database.write() as connection:
            _forget(connection, job_ids)


def _places(connection: Connection, numbers: Sequence[int]) -> dict[int, int]:
    """For each of these ascending numbers of queued jobs its place in the queue, in one pass over the index."""
    between = [
        sa.select(sa.literal(high).label("number"), sa.func.count().label("before")).where(
            JOBS.c.state == "queued", JOBS.c.seq >= low, JOBS.c.seq < high
        )
        for low, high in zip([0, *numbers], numbers, strict=False)
    ]
    if not between:
        return {}
    counted = {row.number: row.before for row in connection.execute(sa.union_all(*between))}
    return {number: before + 1 for number, before in zip(numbers, accumulate(counted[n] for n in numbers), strict=True)}


def _count(connection: Connection, state: str) -> int:
    return int(connection.execute(sa.select(sa.func.count()).where(JOBS.c.state == state)).scalar_one())


def _queued_of(connection: Connection, owners: Collection[str]) -> Counter[str]:
    """How many queued jobs each of these keys has."""
    query = sa.select(JOBS.c.owner, sa.func.count()).where(JOBS.c.state == "queued", JOBS.c.owner.in_(owners))
    return Counter({owner: int(number) for owner, number in connection.execute(query.group_by(JOBS.c.owner))})


def _known(connection: Connection, job: NewJob) -> tuple[Verdict, str] | None:
    """What stands under this job's idempotency key already."""
    if not job.idempotency_key:
        return None
    query = sa.select(IDEMPOTENCY).where(IDEMPOTENCY.c.owner == job.owner, IDEMPOTENCY.c.key == job.idempotency_key)
    row = connection.execute(query).first()
    return None if row is None else ("repeated" if row.digest == job.digest else "reused", row.job)


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


def _forget(connection: Connection, job_ids: Sequence[str]) -> None:
    for column in (JOBS.c.id, ATTEMPTS.c.job, IDEMPOTENCY.c.job, OUTBOX.c.job):
        connection.execute(sa.delete(column.table).where(column.in_(job_ids)))
