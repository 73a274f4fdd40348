"""The workers' heartbeats, by the database's clock: who lives, what it takes, what it has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import sqlalchemy as sa

from .database import WORKERS, Database, clock
from .settings import Timing

Status = Literal["starting", "ready", "busy", "restarting", "unreachable", "quarantined", "draining", "stopped"]


@dataclass(frozen=True)
class Worker:
    """One worker as it last reported itself. ``workflows`` are those whose model files its ComfyUI has.

    ``boot`` names this start of its process, ``home`` the folder that it works in, whichever process does; ``age`` is
    how long ago it reported itself, in seconds.
    """

    id: str
    boot: str
    status: Status
    workflows: Sequence[str]
    info: Mapping[str, Any]
    restarts: int
    home: str = ""
    queues: Sequence[str] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)
    age: float = 0.0

    @property
    def able(self) -> bool:
        """Whether its ComfyUI answers and it takes jobs."""
        return self.status in ("ready", "busy")


class WorkerStore:
    """Reads and writes heartbeats. Blocking."""

    def __init__(self, database: Database, timing: Timing) -> None:
        self.database, self.timing = database, timing

    def enter(self, worker: Worker) -> bool:
        """Take the name for this process; False while another one, with another home, lives under it."""
        with self.database.write() as connection:
            row = connection.execute(
                sa.select(WORKERS.c.home, WORKERS.c.status, (clock() - WORKERS.c.beat_at).label("age"))
                .where(WORKERS.c.id == worker.id)
                .with_for_update()
            ).first()
            values = {"boot": worker.boot, "home": worker.home, "status": worker.status, "restarts": worker.restarts}
            if row is None:
                nothing: dict[str, Any] = {"workflows": [], "info": {}, "queues": [], "measured": {}}
                connection.execute(sa.insert(WORKERS).values(id=worker.id, beat_at=clock(), **values, **nothing))
                return True
            if row.home not in ("", worker.home) and row.status != "stopped" and row.age < self.timing.dead_after_s:
                return False
            connection.execute(sa.update(WORKERS).where(WORKERS.c.id == worker.id).values(beat_at=clock(), **values))
            return True

    def beat(self, worker: Worker) -> bool:
        """Write a heartbeat; False when another process has taken the name since, or the row is gone."""
        values: dict[str, Any] = {
            "status": worker.status,
            "restarts": worker.restarts,
            "queues": list(worker.queues),
            "measured": dict(worker.measured),
        }
        if worker.status not in ("starting", "restarting", "unreachable"):  # else not known: keep what it could run
            values |= {"workflows": list(worker.workflows), "info": dict(worker.info)}
        mine = sa.and_(WORKERS.c.id == worker.id, WORKERS.c.boot == worker.boot)
        with self.database.write() as connection:
            return bool(connection.execute(sa.update(WORKERS).where(mine).values(beat_at=clock(), **values)).rowcount)

    def measured(self, worker: str) -> dict[str, Any]:
        """What earlier processes of this worker counted."""
        with self.database.read() as connection:
            found = connection.execute(sa.select(WORKERS.c.measured).where(WORKERS.c.id == worker)).scalar()
        return dict(found or {})

    def every(self) -> list[Worker]:
        """Every worker that was here in the last days, by name."""
        columns = [WORKERS.c[part.name] for part in fields(Worker) if part.name != "age"]
        query = sa.select(*columns, (clock() - WORKERS.c.beat_at).label("age")).order_by(WORKERS.c.id)
        with self.database.read() as connection:
            return [Worker(**row._mapping) for row in connection.execute(query)]

    def living(self) -> list[Worker]:
        """The workers that beat a moment ago and have not stopped."""
        return [worker for worker in self.every() if self.lives(worker)]

    def lives(self, worker: Worker) -> bool:
        """Whether a worker beat a moment ago and has not stopped."""
        return worker.age < self.timing.dead_after_s and worker.status != "stopped"

    def holding(self) -> set[str]:
        """The workers whose jobs are left to them: one that stopped in an orderly way may be on its way back."""
        return {worker.id for worker in self.every() if worker.age < self.timing.dead_after_s}

    def offering(self) -> list[Worker]:
        """The workers whose models are offered: the living, or for a while after they went the last that were here.

        A job is accepted while its worker restarts, or before an autoscaler starts one; it waits in the queue.
        """
        known = [worker for worker in self.every() if worker.workflows and worker.age < self.timing.remember_s]
        return [worker for worker in known if self.lives(worker)] or known

    def forget_dead(self, before_s: float) -> None:
        """Drop workers that have not been seen for so long."""
        with self.database.write() as connection:
            connection.execute(sa.delete(WORKERS).where(WORKERS.c.beat_at < clock() - before_s))
