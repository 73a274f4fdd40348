"""Times the gateway on Postgres with 100,000 jobs queued and 900,000 done: ``python -m wan_flf2v.benchmarks.scale``.

The gateway is a process of its own without a worker; a heartbeat in the tables stands for one. Beside it the cost of a
worker's look into the queue, with that many jobs queued and with a hundredth of them.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp
import sqlalchemy as sa

from wan_flf2v.benchmarks.gateway import load, show
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.jobs import JobStore
from wan_flf2v.gateway.queue import queue_of
from wan_flf2v.gateway.settings import Timing
from wan_flf2v.gateway.tables import Worker
from wan_flf2v.gateway.workers import WorkerStore
from wan_flf2v.tests.gateway.local import BODY, FLF2V
from wan_flf2v.tests.gateway.postgres import postgres
from wan_flf2v.tests.gateway.processes import Serve

WORKFLOW = "wan22_flf2v"
_JOBS = """
INSERT INTO flf2v_jobs (id, owner, api, model, workflow, "values", shown, state, attempt, worker, cancel, stage, progress,
  outputs, error, webhook, webhook_all, created_at, started_at, finished_at, queue, turn, ticket)
SELECT id, CASE WHEN n % 7 = 0 THEN 'local' ELSE 'key-' || n % 50 END, 'model', 'm', :workflow,
  '{"6_text": "a puppy"}', '{}', CASE WHEN n <= :done THEN 'succeeded' ELSE 'queued' END, 1, 'w1', false, '', 1,
  '[]', '', '', false, extract(epoch FROM now()) - 100000 + n / 100.0, NULL,
  CASE WHEN n <= :done THEN extract(epoch FROM now()) - 90000 + n / 100.0 END, :queue, 2 + n / 50,
  id || '/1'
FROM (SELECT n, gen_random_uuid()::text AS id FROM generate_series(1, :number) AS n) AS numbers
"""
_TICKETS = """
INSERT INTO dbos.workflow_status (workflow_uuid, status, name, queue_name, application_version, application_name,
  priority, recovery_attempts, created_at, updated_at)
SELECT ticket, 'ENQUEUED', 'wan_flf2v_job', queue, '1', 'wan-flf2v', turn, 0, created_at * 1000, created_at * 1000
FROM flf2v_jobs WHERE state = 'queued'
"""


def fill(database: Database, jobs: JobStore, queued: int, done: int) -> None:
    """Put that many jobs into the tables and the queue."""
    jobs.queue.held()  # makes the queue's tables
    with database.write() as connection:
        values = {"workflow": WORKFLOW, "queue": queue_of(WORKFLOW), "done": done, "number": done + queued}
        connection.execute(sa.text(_JOBS), values)
        connection.execute(sa.text(_TICKETS))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))


def taking(jobs: JobStore, number: int = 100) -> list[float]:
    """Milliseconds of each of so many looks into the queue."""
    times = []
    for _ in range(number):
        began = time.perf_counter()
        if jobs.queue.take("w1@bench", [queue_of(WORKFLOW)]) is None:
            raise SystemExit("the queue is empty")
        times.append(1000 * (time.perf_counter() - began))
    return times[10:]


async def measure(serve: Serve, database: Database) -> None:
    """The gateway's figures."""
    with database.read() as connection:
        rows = connection.execute(sa.text("SELECT id FROM flf2v_jobs WHERE state = 'queued' AND owner = 'local'"))
        ids = list(rows.scalars())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def submit() -> None:
            async with session.post(f"{serve.url}/v1/models/{FLF2V}", json=BODY) as answer:
                if answer.status != 200:
                    raise SystemExit(f"HTTP {answer.status}: {await answer.text()}")

        async def status() -> None:
            async with session.get(f"{serve.url}/v1/requests/{random.choice(ids)}/status") as answer:
                body = await answer.json()
                if answer.status != 200 or body["queue_position"] < 1:
                    raise SystemExit(f"HTTP {answer.status}: {body}")

        async def scrape() -> None:
            async with session.get(f"{serve.url}/metrics") as answer:
                await answer.read()

        await load(submit, 4, 200)  # warm
        await load(status, 4, 100)
        show("submit, 16 clients, 50 a second", await load(submit, 16, 1000, rate=50), "p99 <= 25 ms")
        show("status of a queued job, 16 clients, 100 a second", await load(status, 16, 2000, rate=100), "p99 <= 10 ms")
        show("metrics", await load(scrape, 1, 40, rate=2), "<= 50 ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--done", type=int, default=900_000)
    arguments = parser.parse_args()
    data = Path(tempfile.mkdtemp(prefix="flf2v-scale-"))
    with postgres() as url:
        for queued, done in ((arguments.queued // 100, arguments.done // 100), (arguments.queued, arguments.done)):
            name = f"scale{queued}"
            admin = sa.create_engine(
                url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
            )
            with admin.connect() as connection:
                connection.execute(sa.text(f"CREATE DATABASE {name}"))
            admin.dispose()
            here = url.rsplit("/", 1)[0] + f"/{name}"
            database = Database(here)
            jobs = JobStore(database)
            began = time.perf_counter()
            fill(database, jobs, queued, done)
            print(f"\n{queued:,} queued, {done:,} done, filled in {time.perf_counter() - began:.0f} s", flush=True)
            times = taking(jobs)
            print(
                f"a worker takes a job: median {statistics.median(times):.2f} ms, worst {max(times):.2f} ms", flush=True
            )
            worker = Worker("w1", "boot", "ready", [WORKFLOW], {}, 0, "home", [queue_of(WORKFLOW)])
            workers = WorkerStore(database, Timing.model_validate({}))
            workers.enter(worker)
            workers.beat(worker)
            options = ["--no-auth", "--no-worker", "--rate", "0", "--max-queue", "1000000", "--dead-after", "3600"]
            serve = Serve(data / name, [*options, "--log-level", "WARNING", "--database", here])
            serve.start()
            try:
                asyncio.run(measure(serve, database))
            finally:
                serve.stop()
                database.close()
    shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
