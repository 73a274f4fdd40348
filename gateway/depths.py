"""How long the queues are and where a job stands in one, without counting a long queue for every question."""

from __future__ import annotations

import bisect
import math
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from .database import Database, clock
from .queue import FIRST
from .tables import JOBS

# Written out, not bound: a prepared statement must see that the index of the queued rows serves it.
QUEUED = JOBS.c.state == sa.literal_column("'queued'")
_MARK = 500  # jobs from one mark to the next
_FRESH_S = 1.0
_AGAIN_S = 0.1
_SELDOM = 50  # what takes long is looked up after so many times as long


@dataclass
class Room:
    """What of the queue is free while a batch of jobs is accepted."""

    limit: int
    share: int | None
    owners: Counter[str]
    taken: Counter[str] = field(default_factory=Counter)

    def refused(self, owner: str) -> Literal["full", "share"] | None:
        """Why this owner's next job can't be taken; None when it can."""
        if self.owners.total() + self.taken.total() >= self.limit:
            return "full"
        return "share" if self.share is not None and self.owners[owner] + self.taken[owner] >= self.share else None

    def take(self, owner: str) -> None:
        """Count one more job."""
        self.taken[owner] += 1


class Depths:
    """Counts of queued jobs, looked up once a second, and marks in long queues from which a place is counted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._owners: Counter[str] = Counter()
        self._since: Counter[str] = Counter()
        self._marks: dict[str, list[tuple[int, int]]] = {}
        self._at, self._spent = -math.inf, 0.0
        self._looking = threading.Lock()

    @contextmanager
    def counted(self, limit: int, share: int | None, owners: Collection[str]) -> Iterator[Room]:
        """The room for a batch of these owners; what is taken of it counts when the block ends well."""
        with self._lock:
            age, room = time.monotonic() - self._at, Room(limit, share, self._owners)
            again_s = min(_AGAIN_S, self._spent)
            if age == math.inf or (age > again_s and any(room.refused(owner) for owner in owners)):
                self._count()
                room = Room(limit, share, self._owners)
            self._freshen()
            yield room
            self._owners.update(room.taken)
            self._since.update(room.taken)

    def _freshen(self) -> None:
        """Look everything up again when that was a while ago; nobody waits for it."""
        if time.monotonic() - self._at > max(_FRESH_S, _SELDOM * self._spent) and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        began = time.monotonic()
        try:
            self._count()
            self._mark()
        except sa.exc.SQLAlchemyError:
            return  # the database is away; what was looked up before serves on
        finally:
            self._spent = time.monotonic() - began
            self._looking.release()

    def _count(self) -> None:
        self._since = Counter()  # what is taken meanwhile may be counted twice, never not at all; a refusal counts anew
        query = sa.select(JOBS.c.owner, sa.func.count()).where(QUEUED).group_by(JOBS.c.owner)
        self._owners = Counter({owner: int(number) for owner, number in self._database.rows(query)}) + self._since
        self._at = time.monotonic()

    def waiting(self) -> dict[str, tuple[int, float]]:
        """By workflow how many jobs wait, and for how long the one that is next has, in seconds."""
        depths = sa.select(JOBS.c.queue, sa.func.count()).where(QUEUED).group_by(JOBS.c.queue)
        found: dict[str, tuple[int, float]] = {}
        for queue, number in self._database.rows(depths):
            next_ = sa.select(clock() - JOBS.c.created_at).where(QUEUED, JOBS.c.queue == queue)
            age = self._database.first(next_.order_by(JOBS.c.turn, JOBS.c.seq).limit(1)) or (0.0,)
            workflow = queue.rpartition(".")[0]
            kept = found.get(workflow, (0, 0.0))
            found[workflow] = (kept[0] + int(number), max(kept[1], float(age[0])))
        return found

    def place(self, connection: Connection, row: Row[Any]) -> int:
        """This queued job's place in its queue, where 1 is next."""
        self._freshen()
        mine = (row.turn, row.seq)
        marks = self._marks.get(row.queue, [])
        passed = bisect.bisect_left(marks, mine)
        order = sa.tuple_(JOBS.c.turn, JOBS.c.seq)
        between = [order < mine] + ([order >= marks[passed - 1]] if passed else [])
        query = sa.select(sa.func.count()).where(QUEUED, JOBS.c.queue == row.queue, *between)
        return passed * _MARK + int(connection.execute(query).scalar_one()) + 1

    def _mark(self) -> None:
        """Look up every 500th job of the long queues."""
        order = sa.func.row_number().over(partition_by=JOBS.c.queue, order_by=(JOBS.c.turn, JOBS.c.seq))
        ranked = sa.select(JOBS.c.queue, JOBS.c.turn, JOBS.c.seq, order.label("rank")).where(QUEUED).subquery()
        query = sa.select(ranked).where(ranked.c.rank > 1, ranked.c.rank % _MARK == 1).order_by(ranked.c.rank)
        marks: dict[str, list[tuple[int, int]]] = {}
        for found in self._database.rows(query):
            marks.setdefault(found.queue, []).append((found.turn, found.seq))
        self._marks = marks


def next_turn(connection: Connection, owner: str, queue: str) -> int:
    """The turn of an owner's next job: a round after its last that waits, else the next one (start-time fair queueing)."""
    waiting = sa.select(sa.func.min(JOBS.c.turn)).where(QUEUED, JOBS.c.queue == queue)
    last = sa.select(sa.func.max(JOBS.c.turn)).where(QUEUED, JOBS.c.queue == queue, JOBS.c.owner == owner)
    first, mine = connection.execute(sa.select(waiting.scalar_subquery(), last.scalar_subquery())).one()
    return max(FIRST + 1, first or 0, (mine or 0) + 1)
