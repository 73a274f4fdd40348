"""The workers' heartbeats: who lives, what it can run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import sqlalchemy as sa

from .database import WORKERS, Database, now

_REMEMBER_S = 600.0
Status = Literal["starting", "ready", "busy", "restarting", "stopped"]


@dataclass(frozen=True)
class Worker:
    """One worker as it last reported itself. ``workflows`` are those whose model files its ComfyUI has."""

    id: str
    boot: str
    status: Status
    workflows: Sequence[str]
    info: Mapping[str, Any]
    restarts: int
    beat_at: float

    @property
    def able(self) -> bool:
        """Whether its ComfyUI answers."""
        return self.status in ("ready", "busy")


class WorkerStore:
    """Reads and writes heartbeats. Blocking."""

    def __init__(self, database: Database, dead_after_s: float) -> None:
        self.database = database
        self._dead_after_s = dead_after_s

    def beat(self, worker: Worker) -> None:
        """Write a heartbeat."""
        values = {**worker.__dict__, "workflows": list(worker.workflows), "info": dict(worker.info), "beat_at": now()}
        with self.database.write() as connection:
            known = sa.update(WORKERS).where(WORKERS.c.id == worker.id).values(**values)
            if worker.status in ("starting", "restarting"):  # what it can run is not known yet: keep what it could
                kept = {name: value for name, value in values.items() if name not in ("workflows", "info")}
                known = sa.update(WORKERS).where(WORKERS.c.id == worker.id).values(**kept)
            if connection.execute(known).rowcount == 0:
                connection.execute(sa.insert(WORKERS).values(**values))

    def every(self) -> list[Worker]:
        """Every worker that was ever here, by name."""
        with self.database.read() as connection:
            columns = [WORKERS.c[part.name] for part in fields(Worker)]
            return [Worker(**row._mapping) for row in connection.execute(sa.select(*columns).order_by(WORKERS.c.id))]

    def living(self) -> list[Worker]:
        """The workers that beat a moment ago and have not stopped."""
        limit = now() - self._dead_after_s
        return [worker for worker in self.every() if worker.beat_at >= limit and worker.status != "stopped"]

    def offering(self) -> list[Worker]:
        """The workers whose models are offered: the living, or for a while after they went the last that were here.

        A job is accepted while its worker restarts; it waits in the queue.
        """
        limit = now() - _REMEMBER_S
        known = [worker for worker in self.every() if worker.workflows and worker.beat_at >= limit]
        alive = [
            worker for worker in known if worker.status != "stopped" and worker.beat_at >= now() - self._dead_after_s
        ]
        return alive or known

    def forget_dead(self, before: float) -> None:
        """Drop workers that have not been seen since this time."""
        with self.database.write() as connection:
            connection.execute(sa.delete(WORKERS).where(WORKERS.c.beat_at < before))
