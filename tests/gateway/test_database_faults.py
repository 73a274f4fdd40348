"""The database fails in the worst moment: an answer is lost, its host vanishes, another process makes it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
import sqlalchemy.exc

from wan_flf2v.gateway import upkeep
from wan_flf2v.gateway.assets import AssetStore
from wan_flf2v.gateway.attempts import AttemptStore, Claim
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.jobs import JobStore
from wan_flf2v.gateway.keys import KeyStore
from wan_flf2v.gateway.queue import JobQueue, queue_of
from wan_flf2v.gateway.server import prepare_data
from wan_flf2v.gateway.service import JobService
from wan_flf2v.gateway.settings import Settings
from wan_flf2v.gateway.tables import BLOBS
from wan_flf2v.gateway.upkeep import Upkeep

from .local import FAST, local, run
from .test_faults import GONE
from .test_sick import machine
from .test_stops import read_only


def test_a_side_file_that_goes_away_refuses_no_start(tmp_path: Path) -> None:
    """SQLite removes its side files when the last process closes the database."""
    (tmp_path / "jobs.sqlite-wal").symlink_to(tmp_path / "gone")
    prepare_data(Settings(data=tmp_path))


def test_a_database_that_another_process_makes_just_now_is_waited_for(tmp_path: Path) -> None:
    """Regression: of several processes that started at once on no database, one ended: "database is locked"."""
    other = sqlite3.connect(tmp_path / "jobs.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    made = threading.Timer(0.5, other.execute, ["COMMIT"])
    made.start()
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    assert JobStore(database).counts() == {}
    database.close()
    made.join()
    again = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    assert again.first(sa.text("PRAGMA journal_mode"))[0] == "wal"
    again.close()


def test_a_video_stays_when_the_word_that_its_job_is_ended_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: told a second time, the job was over, and the worker deleted what it took for another's video."""
    finish, calls = AttemptStore.finish, []

    def dies(self: AttemptStore, *args: Any) -> bool:
        ended = finish(self, *args)
        calls.append(ended)
        if len(calls) == 1:
            raise GONE
        return ended

    async def main() -> None:
        async with local(tmp_path) as here:
            monkeypatch.setattr(AttemptStore, "finish", dies)
            job = await here.submit()
            await here.until(job, "succeeded")
            while len(calls) < 2:
                await asyncio.sleep(0.02)
            await here.until(await here.submit(), "succeeded")  # so that the first is done with
            link = (await here.call("GET", f"/v1/requests/{job}/result")).json["output"]["video"]
            assert (await here.call("GET", link)).body == here.comfy.video
            assert calls[:2] == [True, True]
            claim = Claim(job, 1, "w1")
            assert not finish(AttemptStore(here.jobs.database, here.jobs.queue, 3), claim, "succeeded", "", [])

    run(main)


def test_a_job_whose_taking_was_not_answered_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: it waited in the hands of a worker that knew nothing of it, for as long as that one lived."""
    take, lost = JobQueue.take, []

    def dies(self: JobQueue, *args: Any) -> str | None:
        taken = take(self, *args)
        if taken is not None and not lost:
            lost.append(taken)
            raise GONE
        return taken

    async def main() -> None:
        async with local(tmp_path) as here:
            monkeypatch.setattr(JobQueue, "take", dies)
            row = await here.until(await here.submit(), timeout_s=15)
            assert (row["state"], row["attempt"], len(lost)) == ("succeeded", 1, 1)

    run(main)


def test_an_error_in_the_middle_of_a_file_is_not_sent_as_its_rest(tmp_path: Path, postgres_url: str) -> None:
    async def main() -> None:
        async with local(tmp_path, worker=False, database=postgres_url) as here:
            database = Database(postgres_url)
            asset = AssetStore(database, tmp_path).put(
                bytes(3 * 2**20), owner="me", filename="a.mp4", media_type="video/mp4", job="j"
            )
            database.change(sa.delete(BLOBS).where(BLOBS.c.part == 1))
            path = JobService(here.settings, database).links.path(asset.id, "a.mp4")
            host, port = here.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = await asyncio.wait_for(reader.read(-1), 10)  # until the connection is closed
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"fault" not in answer
            writer.close()
            database.close()

    run(main)


def test_who_asks_is_answered_by_a_database_that_takes_nothing(tmp_path: Path, postgres_url: str) -> None:
    database = Database(postgres_url)
    _, secret = KeyStore(database).create("me", ["read"])
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        read_only(admin, postgres_url.rsplit("/", 1)[1], True)
        key = KeyStore(Database(postgres_url)).find(secret)
        assert key is not None
        assert key.name == "me"


def test_a_host_that_went_away_without_a_word_is_noticed(postgres_url: str) -> None:
    for url, seconds in ((postgres_url, "10"), (f"{postgres_url}?connect_timeout=3", "3")):
        database = Database(url)
        with database.read() as connection:
            told = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
            locks_go = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar()
        assert (told["connect_timeout"], told["tcp_user_timeout"], locks_go) == (seconds, "30000", "1min")
        database.close()


def test_the_first_releases_tickets_stop_no_upkeep(tmp_path: Path) -> None:
    """Regression: on Postgres they are in the same tables; a job that ran at the upgrade stopped workers and sweeping."""
    service = JobService(Settings(data=tmp_path), Database(f"sqlite:///{tmp_path}/jobs.sqlite"))
    queue = service.jobs.queue
    with queue.write() as connection:
        queue.put(connection, str(uuid.uuid4()), queue_of("wan22_flf2v"), 1)
    assert queue.take("old@boot", [queue_of("wan22_flf2v")])
    assert Upkeep(service, AttemptStore(service.jobs.database, queue, 3)).take_over() == []
    assert queue.held() == []
    service.close()


def test_who_lives_has_a_moment_to_say_so_before_its_job_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: after a database took no heartbeats for a while, the first look at it took over everybody's jobs."""
    monkeypatch.setattr(upkeep, "_MOMENT_S", 2.0)

    async def main() -> None:
        timing = FAST.model_copy(update={"dead_after_s": 1.0, "sweep_s": 1000.0})
        async with local(tmp_path, worker=False, timing=timing) as here:
            service = JobService(here.settings, Database(here.settings.database_url))
            keeping = Upkeep(service, AttemptStore(service.jobs.database, service.jobs.queue, 3))
            async with machine(here, "w2", hang=True) as other:
                job = await here.submit()
                await here.until(job, "running")
                beat, other.agent.workers.beat = other.agent.workers.beat, lambda _: True  # type: ignore[method-assign]
                await asyncio.sleep(1.5)
                sweep = asyncio.create_task(keeping.sweep())
                await asyncio.sleep(0.5)
                other.agent.workers.beat = beat  # type: ignore[method-assign]
                await sweep
                row = here.jobs.get(job)
                assert row is not None
                assert (row.state, row.worker, row.attempt) == ("running", "w2", 1)
            await asyncio.sleep(1.2)
            await keeping.sweep()
            row = here.jobs.get(job)
            assert row is not None
            assert row.worker == ""
            service.close()

    run(main)


def test_a_gateways_wrong_clock_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            job = await here.submit()
            await here.until(job, "succeeded")
            service = JobService(here.settings, Database(here.settings.database_url))
            true = time.time
            monkeypatch.setattr(time, "time", lambda: true() + 30 * 24 * 3600)
            await Upkeep(service, AttemptStore(service.jobs.database, service.jobs.queue, 3)).forget()
            monkeypatch.undo()
            assert here.jobs.get(job) is not None
            service.close()

    run(main)
