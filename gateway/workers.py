"""The workers' heartbeats, by the database's clock: who lives, what it takes, what it has measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from .database import Database, clock
from .settings import Timing
from .tables import WORKERS, Worker

BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


@dataclass
class Measured:
    """Counts of attempts by how they ended and of times by how long; kept with a heartbeat it outlives the process."""

    attempts: Counter[str] = field(default_factory=Counter)
    times: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Measured:
        """What an earlier process counted, to count on from."""
        return cls(
            Counter(data.get("attempts", {})), {name: dict(time) for name, time in data.get("times", {}).items()}
        )

    def time(self, name: str, seconds: float) -> None:
        """Note how long something took."""
        kept = self.times.setdefault(name, {"sum": 0.0, "buckets": [0] * (len(BUCKETS) + 1)})
        kept["sum"] += seconds
        kept["buckets"][sum(seconds > bound for bound in BUCKETS)] += 1


class WorkerStore:
    """Reads and writes heartbeats. Blocking."""

    def __init__(self, database: Database, timing: Timing) -> None:
        self.database, self.timing = database, timing

    def enter(self, worker: Worker) -> Measured | None:
        """Take the name for this process, and what earlier ones counted; None while one with another home has it."""
        values = {"boot": worker.boot, "home": worker.home, "status": worker.status, "restarts": worker.restarts}
        old = clock() - WORKERS.c.beat_at >= self.timing.dead_after_s
        free = sa.or_(WORKERS.c.home.in_(("", worker.home)), WORKERS.c.status == "stopped", old)
        row = self.database.insert(WORKERS, **{**worker.columns(), "beat_at": clock()}).on_conflict_do_update(
            index_elements=[WORKERS.c.id], set_={**values, "beat_at": clock()}, where=free
        )
        with self.database.write() as connection:
            entered = connection.execute(row.returning(WORKERS.c.measured)).first()
        return None if entered is None else Measured.of(entered.measured)

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
        return bool(self.database.change(sa.update(WORKERS).where(mine).values(beat_at=clock(), **values)))

    def every(self) -> list[Worker]:
        """Every worker that was here in the last days, by name."""
        query = sa.select(WORKERS, (clock() - WORKERS.c.beat_at).label("age")).order_by(WORKERS.c.id)
        return [Worker(**row._mapping) for row in self.database.rows(query)]

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
        """The workers whose models are offered: the living, or for a while the last that were here: one may come back."""
        known = [worker for worker in self.every() if worker.workflows and worker.age < self.timing.remember_s]
        return [worker for worker in known if self.lives(worker)] or known

    def forget_dead(self) -> None:
        """Drop workers that have not been seen for as long as jobs are kept."""
        longest = max(self.timing.keep_s, self.timing.remember_s)
        self.database.change(sa.delete(WORKERS).where(WORKERS.c.beat_at < clock() - longest))
