"""The stores over one database, as a gateway and its workers have them."""

from __future__ import annotations

from dataclasses import dataclass

from wan_flf2v.gateway.attempts import AttemptStore, Claim
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.jobs import JobStore
from wan_flf2v.gateway.queue import JobQueue, queue_of, ticket_of
from wan_flf2v.gateway.tables import Worker
from wan_flf2v.gateway.workers import WorkerStore

from .local import new_job

WAN22, WAN21 = "wan22_flf2v", "wan21_flf2v"


@dataclass
class Kit:
    url: str
    database: Database
    jobs: JobStore
    queue: JobQueue
    attempts: AttemptStore

    def add(self, owner: str = "me", workflow: str = WAN22, **values: object) -> str:
        job = new_job(owner, workflow, values=values)
        assert self.jobs.add([job], 10_000, 10_000) == [("accepted", job.id)]
        return job.id

    def places(self, jobs: list[str]) -> dict[str, int | None]:
        """What each of these jobs is told of its place."""
        return {job: seen[1] for job in jobs if (seen := self.jobs.look(job)) is not None}

    def claim(self, job: str, number: int = 1, worker: str = "w1") -> Claim:
        """This attempt, which must be there to be had."""
        claim = self.attempts.claim(ticket_of(job, number), worker)
        assert claim is not None
        return claim

    def take(self, worker: str = "w1@1", *workflows: str) -> str | None:
        """The job that this worker gets."""
        ticket = self.queue.take(worker, [queue_of(name) for name in workflows or (WAN22,)])
        return None if ticket is None else ticket.split("/")[0]


class Service:
    """What the upkeep asks of a service."""

    def __init__(self, kit: Kit, workers: WorkerStore) -> None:
        self.jobs, self.workers = kit.jobs, workers


def report(store: WorkerStore, name: str, *queues: str, status: str = "ready") -> None:
    worker = Worker(name, "boot", status, ["wan22_flf2v"], {}, 0, name, queues)  # type: ignore[arg-type]
    assert store.enter(worker)
    assert store.beat(worker)
