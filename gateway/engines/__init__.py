"""What drives the jobs: a port with three engines behind it, all held to one conformance suite.

The jobs table is the truth; an engine only sees to it that a job's steps are run, by one worker at a time, and go on
where they were after a crash. The gateway holds the engine's feeding side, a worker its running side.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol

Step = Callable[[], Awaitable[Any]]
Steps = Callable[[str, Step], Awaitable[Any]]
Handler = Callable[[str, Steps], Awaitable[None]]
Living = Callable[[], Collection[str]]


class JobEngine(Protocol):
    """The feeding side. All methods block; callers in an event loop use a thread."""

    def enqueue(self, job_ids: Sequence[str]) -> None:
        """Give these jobs to the workers, in this order. A job that is known already stays as it is."""

    def cancel(self, job_id: str) -> None:
        """Make sure that a job which no worker has begun is never begun."""

    def lost(self, job_ids: Sequence[str]) -> dict[str, str]:
        """Of these jobs, the ones that the engine will not drive any further, with its reason."""

    def take_over(self, living: Living) -> list[str]:
        """Give the jobs of every worker that does not live back to the queue; returns them.

        ``living`` is asked after the jobs were looked up, never before: a worker reports itself before it begins a
        job, so an older list could miss one that came in between, and its job would be taken from it.
        """

    def waiting(self) -> int:
        """How many jobs wait for a worker."""

    def forget(self, job_ids: Sequence[str]) -> None:
        """Drop the records of jobs that are over."""

    def close(self) -> None:
        """Let go of connections."""


class EngineWorker(Protocol):
    """The running side: one per worker process, one job at a time. ``boot`` names this start of the worker."""

    async def start(self, worker: str, boot: str, handler: Handler) -> None:
        """Begin to run jobs, first the ones that earlier boots of this worker left behind.

        Steps run on the caller's event loop; the handler around them may run on another. It is called again for a job
        that was cut off; a step that had finished is then not run again but answers what it answered.
        """

    async def stop(self) -> None:
        """Take no more jobs. A job that runs is left as a crash would leave it."""


def open_engine(database_url: str) -> JobEngine:
    """The feeding side of the durable engine on this database, opened on its first use."""
    from .lazy import LazyEngine

    def make() -> JobEngine:
        from .durable import DurableEngine

        return DurableEngine(database_url)

    return LazyEngine(make)


def open_worker(database_url: str, poll_s: float) -> EngineWorker:
    """The running side of the durable engine on this database. One per process."""
    from .durable import DurableWorker

    return DurableWorker(database_url, poll_s)
