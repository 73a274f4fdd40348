"""The durable engine: DBOS workflows on SQLite or Postgres, the same code on both.

Facts it is built on: without its vendor's control plane DBOS recovers a dead process's workflows only in a process of
the same executor id, and into a queue without a concurrency limit. So every boot of a worker has an id of its own, and
this module resumes what is left behind: into the worker's own queue when that worker is back (its ComfyUI may still be
rendering), into the common queue when it is not. Rows are bound to an application version, so that one is pinned; the
serializer is JSON, because a pickle in a database is code for whoever can write there.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSClient, DBOSConfig
from dbos._serialization import DBOSPortableJSON

from . import Handler, Living, Step

APPLICATION = "wan-flf2v"
VERSION = "1"  # of the steps below, not of the pack: raise it only when old rows can't be replayed
WORKFLOW = "wan_flf2v_job"
COMMON = "flf2v"
_FIRST_S = 10.0
_HANDED_OVER = ["PENDING", "ENQUEUED", "DELAYED"]
log = logging.getLogger(__name__)


class DurableEngine:
    """The feeding side. See JobEngine."""

    def __init__(self, database_url: str) -> None:
        url = engine_url(database_url)
        _quiet()
        if url.startswith("sqlite"):
            _use_wal(url)
        DBOS.migrate(url)
        self._client = DBOSClient(
            system_database_url=url, serializer=DBOSPortableJSON, application_name=APPLICATION, lazy=True
        )

    def enqueue(self, job_ids: Sequence[str]) -> None:
        """See JobEngine."""
        for job in job_ids:
            self._client.enqueue(
                {
                    "workflow_name": WORKFLOW,
                    "queue_name": COMMON,
                    "workflow_id": job,
                    "app_version": VERSION,
                    "workflow_id_reuse_policy": "return-existing",
                },
                job,
            )

    def cancel(self, job_id: str) -> None:
        """See JobEngine."""
        waiting = self._list(workflow_ids=[job_id], status="ENQUEUED")
        if waiting:
            self._client.cancel_workflow(job_id)

    def lost(self, job_ids: Sequence[str]) -> dict[str, str]:
        """See JobEngine."""
        if not job_ids:
            return {}
        known = {item.workflow_id: item.status for item in self._list(workflow_ids=list(job_ids))}
        states = {job: known.get(job, "unknown") for job in job_ids}
        return {job: state for job, state in states.items() if state not in _HANDED_OVER}

    def take_over(self, living: Living) -> list[str]:
        """See JobEngine."""
        held = self._held()
        alive = living()
        lost = [pair for pair in held if pair[1] not in alive]
        if lost:  # another gateway may look at the same time, and a worker have got the job from it already
            now_held = self._held()
            lost = [pair for pair in lost if pair in now_held]
        return self._resume([job for job, _ in lost], COMMON)

    def bring_home(self, worker: str) -> list[str]:
        """Put the jobs that earlier boots of this worker had begun into its own queue; returns them."""
        mine = [item.workflow_id for item in self._begun() if _worker(item.executor_id) == worker]
        return self._resume(mine, own_queue(worker))

    def waiting(self) -> int:
        """See JobEngine."""
        return len(self._list(status="ENQUEUED", queue_name=COMMON, limit=1000))

    def forget(self, job_ids: Sequence[str]) -> None:
        """See JobEngine."""
        known = [item.workflow_id for item in self._list(workflow_ids=list(job_ids))]
        if known:
            self._client.delete_workflows(known)

    def close(self) -> None:
        """See JobEngine."""
        self._client.destroy()

    def _held(self) -> list[tuple[str, str]]:
        """Every job that a worker has begun or has in its own queue, with that worker."""
        waiting = [item for item in self._list(status="ENQUEUED") if item.queue_name != COMMON]
        return [
            *((item.workflow_id, _worker(item.executor_id)) for item in self._begun()),
            *((item.workflow_id, str(item.queue_name).removeprefix(f"{COMMON}-")) for item in waiting),
        ]

    def _begun(self) -> list[Any]:
        return self._list(status="PENDING")

    def _resume(self, jobs: list[str], queue: str) -> list[str]:
        if jobs:
            self._client.resume_workflows(jobs, queue_name=queue)
            log.info("jobs given back", extra={"jobs": jobs, "queue": queue})
        return jobs

    def _list(self, **query: Any) -> list[Any]:
        return list(self._client.list_workflows(load_input=False, load_output=False, name=WORKFLOW, **query))


class DurableWorker:
    """The running side. See EngineWorker. DBOS is one per process, so this is too."""

    def __init__(self, database_url: str, poll_s: float) -> None:
        self._database_url = database_url
        self._poll_s = poll_s

    async def start(self, worker: str, boot: str, handler: Handler) -> None:
        """See EngineWorker."""
        await asyncio.to_thread(self._launch, worker, boot, handler, asyncio.get_running_loop())

    async def stop(self) -> None:
        """See EngineWorker."""
        await asyncio.to_thread(DBOS.destroy, destroy_registry=True)

    def _launch(self, worker: str, boot: str, handler: Handler, loop: asyncio.AbstractEventLoop) -> None:
        engine = DurableEngine(self._database_url)  # makes the tables
        try:
            left_behind = set(engine.bring_home(worker))
        finally:
            engine.close()
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": engine_url(self._database_url),
            "application_version": VERSION,
            "executor_id": f"{worker}@{boot}",
            "serializer": DBOSPortableJSON,
            "log_level": "WARNING",
            "console_log_level": "WARNING",
        }
        DBOS(config=config)
        # Two queues feed this worker, and a ComfyUI runs one prompt at a time.
        one_at_a_time = asyncio.Lock()

        async def step(name: str, function: Step) -> Any:
            async def on_callers_loop() -> Any:
                return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_coroutine(function), loop))

            return await DBOS.run_step_async({"name": name}, on_callers_loop)

        async def run(job: str) -> None:
            give_up = loop.time() + _FIRST_S
            while left_behind and job not in left_behind and loop.time() < give_up:
                await asyncio.sleep(0.02)  # what was begun before comes first: ComfyUI may have it running
            left_behind.discard(job)
            async with one_at_a_time:
                await handler(job, step)

        DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)(run)
        queues = (COMMON, own_queue(worker))
        DBOS.listen_queues(queues)
        DBOS.launch()
        for queue in queues:
            DBOS.register_queue(
                queue, worker_concurrency=1, polling_interval_sec=self._poll_s, on_conflict="always_update"
            )


def own_queue(worker: str) -> str:
    """The queue that only this worker reads."""
    return f"{COMMON}-{worker}"


def engine_url(database_url: str) -> str:
    """Where the engine keeps its rows: on Postgres in the same database, on SQLite in a file beside the other."""
    if database_url.startswith("sqlite"):
        path = Path(database_url.removeprefix("sqlite:///"))
        return f"sqlite:///{path.with_name('engine.sqlite').as_posix()}"
    return database_url.replace("postgresql+psycopg://", "postgresql://")


def _worker(executor_id: str | None) -> str:
    """The worker whose boot this executor id is."""
    return (executor_id or "").rpartition("@")[0]


async def _coroutine(function: Step) -> Any:
    return await function()


def _use_wal(url: str) -> None:
    """Let readers and a writer work at the same time; kept by the file."""
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=30)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


def _quiet() -> None:
    """DBOS logs through a logger and a console handler of its own; its warnings go to ours."""
    logger = logging.getLogger("dbos")
    logger.setLevel(logging.WARNING)
