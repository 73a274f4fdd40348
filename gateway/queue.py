"""The one queue, DBOS's: one for each workflow, kept in the same database as the tables.

Putting a job in is part of the transaction that accepts it. A worker takes from the queues of the workflows that it can
run, and no other. A place in the queue is a *ticket*; a job that is given back gets a new one, and the jobs table
says which counts, so a ticket that two take or that a killed process left behind does no harm. DBOS's own queue threads
are not used: they limit what runs for each queue of a process, a ComfyUI runs one prompt from all of them, and they can't
pause while it is down. The worker calls the same claim that these threads do.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection

from ..workflows import Bindings
from .database import Database, new_id

if TYPE_CHECKING:
    from dbos import DBOSClient

FIRST = 1  # the turn of a job that is given back: before all others
_APPLICATION = "wan-flf2v"
_VERSION = "1"  # the same in every release: what a release can run, the names of its queues say
_NAME = "wan_flf2v_job"


@lru_cache
def queue_of(workflow: str) -> str:
    """The queue of a workflow as this release ships it: another release's, with another graph, is another queue."""
    text = json.dumps(Bindings.load(workflow).graph, sort_keys=True)
    return f"{workflow}.{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def ticket_of(job_id: str, number: int) -> str:
    """The ticket of a job's n-th time in the queue."""
    return f"{job_id}/{number}"


def job_of_ticket(ticket: str) -> tuple[str, int]:
    """The job and the number of a ticket."""
    job, _, number = ticket.partition("/")
    return job, int(number or 0)  # the first release's tickets, in Postgres to this day, were the jobs' ids


class JobQueue:
    """Puts, takes and drops tickets. Blocking."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queues: dict[str, Any] = {}

    @cached_property
    def _client(self) -> DBOSClient:
        from dbos import DBOS, DBOSClient
        from dbos._serialization import DBOSPortableJSON

        logging.getLogger("dbos").setLevel(logging.WARNING)
        DBOS.migrate(self._database.url.replace("postgresql+psycopg://", "postgresql://"))
        return DBOSClient(
            system_database_engine=self._database.engine,
            serializer=DBOSPortableJSON,  # a pickle in a database is code for whoever can write there
            application_name=_APPLICATION,
            lazy=True,
            retry_connection_errors=False,
        )

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction of the tables in which tickets can be put in. DBOS's own tables are made before the first."""
        _ = self._client
        return self._database.write()

    def put(self, connection: Connection, ticket: str, queue: str, turn: int) -> None:
        """Put a ticket into a queue as part of this transaction; the lowest turn is taken first."""
        self._client.enqueue_in_transaction(
            connection,
            {
                "workflow_name": _NAME,
                "queue_name": queue,
                "workflow_id": ticket,
                "app_version": _VERSION,
                "priority": turn,
            },
        )

    def take(self, executor: str, queues: Iterable[str]) -> str | None:
        """The next ticket of the first of these queues that has one; nobody else gets it."""
        for name in queues:
            if name not in self._queues:
                self._queues[name] = self._client.register_queue(name, worker_concurrency=1, on_conflict="never_update")
            taken, _ = self._client._sys_db.start_queued_workflows(
                self._queues[name], executor, _VERSION, None, owner_xid=new_id(), is_latest_version=False
            )
            if taken:
                return taken[0]
        return None

    def held(self) -> list[tuple[str, str]]:
        """Every ticket that was taken and not dropped, with its executor, the oldest first."""
        taken = self._client.list_workflows(name=_NAME, status="PENDING", load_input=False, load_output=False)
        return [(item.workflow_id, item.executor_id or "") for item in taken]

    def drop(self, tickets: Sequence[str]) -> None:
        """Forget these tickets, wherever they are."""
        if tickets:
            self._client.delete_workflows(list(tickets))
