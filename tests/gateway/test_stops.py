"""Orderly stops, and a database that is away for a while, with real processes: nothing is lost, nothing counts as lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.jobs import JobStore

from .local import BODY, FLF2V, attempts_of
from .processes import Serve, fake_command
from .test_cluster import running, wait_for_workers, wait_over

pytestmark = pytest.mark.slow
QUICK = ["--poll", "0.2", "--engine-poll", "0.2"]


def submit(serve: Serve) -> str:
    status, ticket = serve.call("POST", f"/v1/models/{FLF2V}", BODY)
    assert status == 200, ticket
    return str(ticket["request_id"])


def until_running(store: JobStore, job: str, attempt: int = 1) -> None:
    deadline = time.monotonic() + 30
    while (
        (row := store.get(job)) is None or (row.state, row.attempt) != ("running", attempt) or row.stage == "Starting"
    ):
        assert time.monotonic() < deadline, row
        time.sleep(0.05)
    time.sleep(0.5)


def prompts(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_the_first_sigterm_lets_the_job_end_and_takes_no_other(tmp_path: Path) -> None:
    log = tmp_path / "prompts.log"
    serve = Serve(tmp_path / "data", ["--no-auth", *QUICK, "--comfyui-command", fake_command(4.0, log)])
    database = None
    try:
        serve.start()
        database = Database(f"sqlite:///{serve.data}/jobs.sqlite")
        store = JobStore(database)
        first, second = submit(serve), submit(serve)
        until_running(store, first)
        assert serve.process is not None
        serve.process.terminate()
        time.sleep(0.5)
        assert serve.call("GET", f"/v1/requests/{first}/status")[0] == 200  # clients can ask meanwhile
        assert serve.process.wait(30) == 0
        rows = [store.get(job) for job in (first, second)]
        assert [(row.state, row.attempt) for row in rows if row] == [("succeeded", 1), ("queued", 0)]
        assert serve.comfy_pid() is None  # nothing ran there any more
        serve.start()
        wait_over(store, [second], 30)
        assert len(prompts(log)) == 2
    finally:
        serve.stop()
        if database is not None:
            database.close()


def test_a_second_sigterm_leaves_now_and_the_next_process_finds_the_prompt_again(tmp_path: Path) -> None:
    """Regression: each orderly restart threw the render away, and three of them failed the job."""
    log = tmp_path / "prompts.log"
    serve = Serve(tmp_path / "data", ["--no-auth", *QUICK, "--comfyui-command", fake_command(25.0, log)])
    try:
        serve.start()
        database = Database(f"sqlite:///{serve.data}/jobs.sqlite")
        store = JobStore(database)
        job = submit(serve)
        until_running(store, job)
        comfy = serve.comfy_pid()
        for _ in range(4):
            assert serve.process is not None
            serve.process.terminate()
            time.sleep(0.5)
            serve.process.terminate()
            serve.process.wait(20)
            assert comfy is not None
            assert psutil.pid_exists(comfy)
            serve.start()
        wait_over(store, [job], 60)
        row = store.get(job)
        assert row is not None
        assert (row.state, row.attempt) == ("succeeded", 1)
        assert len(prompts(log)) == 1
        database.close()
    finally:
        serve.stop()


def test_orderly_stops_that_end_comfyui_too_are_no_attempts(tmp_path: Path) -> None:
    serve = Serve(
        tmp_path / "data",
        ["--no-auth", *QUICK, "--drain-timeout", "0", "--comfyui-command", fake_command(3.0)],
    )
    try:
        serve.start()
        database = Database(f"sqlite:///{serve.data}/jobs.sqlite")
        store = JobStore(database)
        job = submit(serve)
        for number in range(1, 5):
            until_running(store, job, number)
            assert serve.process is not None
            serve.process.terminate()
            serve.process.wait(20)
            serve.kill_comfy()  # as when the machine is switched off
            serve.start()
        wait_over(store, [job], 60)
        row = store.get(job)
        assert row is not None
        assert row.state == "succeeded"
        assert {item.outcome for item in attempts_of(store, job)} == {"stopped", "succeeded"}
        database.close()
    finally:
        serve.stop()


def test_ctrl_c_twice_ends_everything(tmp_path: Path) -> None:
    serve = Serve(tmp_path / "data", ["--no-auth", *QUICK, "--comfyui-command", fake_command(60)])
    try:
        serve.start()
        database = Database(f"sqlite:///{serve.data}/jobs.sqlite")
        job = submit(serve)
        until_running(JobStore(database), job)
        comfy = serve.comfy_pid()
        assert serve.process is not None
        for _ in range(2):
            serve.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        serve.process.wait(20)
        assert comfy is not None
        assert not psutil.pid_exists(comfy)
        database.close()
    finally:
        serve.stop()


def test_a_database_that_is_read_only_for_a_while_ends_no_process_and_loses_nothing(
    tmp_path: Path, postgres_url: str
) -> None:
    """Regression: eight seconds of it ended every worker and its ComfyUI; the door answered 500."""
    options = ["--no-auth", *QUICK, "--database", postgres_url, "--comfyui-command", fake_command(3.0)]
    with (
        running(Serve(tmp_path / "data", options)) as serve,
        psycopg.connect(postgres_url, autocommit=True) as admin,
    ):
        database = Database(postgres_url)
        store = JobStore(database)
        wait_for_workers(serve, 1)
        jobs = [submit(serve) for _ in range(2)]
        until_running(store, jobs[0])
        agent, comfy = serve.agent_pid(), serve.comfy_pid()
        name = postgres_url.rsplit("/", 1)[1]
        read_only(admin, name, True)
        answers = []
        until = time.monotonic() + 8
        while time.monotonic() < until:
            answers.append(serve.call("POST", f"/v1/models/{FLF2V}", BODY))
            time.sleep(0.2)
        read_only(admin, name, False)
        assert {status for status, _ in answers} <= {200, 503}
        assert 503 in {status for status, _ in answers}
        jobs += [ticket["request_id"] for status, ticket in answers if status == 200]
        wait_over(store, jobs, 120)
        rows = [store.get(job) for job in jobs]
        assert {(row.state, row.attempt) for row in rows if row} == {("succeeded", 1)}
        assert (serve.agent_pid(), serve.comfy_pid()) == (agent, comfy)
        database.close()


def read_only(admin: psycopg.Connection, name: str, on: bool) -> None:
    """Make a database take no writes, as a primary that became a standby: for new sessions, and cut the others off."""
    admin.execute("SET default_transaction_read_only = off")
    admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {'on' if on else 'off'}")  # type: ignore[arg-type,unused-ignore]
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
    )


def test_a_gateway_whose_database_is_away_still_ends_when_it_is_told_to(tmp_path: Path, postgres_url: str) -> None:
    serve = Serve(tmp_path / "data", ["--no-auth", "--no-worker", "--database", postgres_url])
    try:
        serve.start(0)
        while serve.call("GET", "/playground.json")[0] != 200:
            time.sleep(0.1)
        with psycopg.connect(postgres_url.rsplit("/", 1)[0] + "/postgres", autocommit=True) as admin:
            name = postgres_url.rsplit("/", 1)[1]
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # type: ignore[arg-type,unused-ignore]
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        time.sleep(2)
        assert serve.process is not None
        os.kill(serve.process.pid, signal.SIGTERM)
        serve.process.wait(15)
    finally:
        serve.stop()


def test_an_idle_worker_costs_postgres_little(tmp_path: Path, postgres_url: str) -> None:
    """At most ten transactions a second and four connections, where it was 52 and 7."""
    options = ["--database", postgres_url, "--comfyui-command", fake_command(1.0)]
    with (
        running(Serve(tmp_path / "w", options, name="w1", command="worker"), 0),
        psycopg.connect(postgres_url, autocommit=True) as admin,
    ):
        deadline = time.monotonic() + 60
        while not _count(admin, "SELECT count(*) FROM flf2v_workers WHERE status = 'ready'", missing=0):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(3)
        query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        admin.execute("SELECT pg_stat_clear_snapshot()")
        before, began = _count(admin, query), time.monotonic()
        time.sleep(10)
        admin.execute("SELECT pg_stat_clear_snapshot()")
        rate = (_count(admin, query) - before) / (time.monotonic() - began)
        connections = _count(
            admin,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        print(f"\nidle worker: {rate:.1f} transactions a second, {connections} connections")
        assert rate <= 10
        assert connections <= 4


def _count(admin: psycopg.Connection, query: str, missing: int | None = None) -> int:
    try:
        row = admin.execute(query).fetchone()  # type: ignore[arg-type,unused-ignore]
    except psycopg.errors.UndefinedTable:
        if missing is None:
            raise
        return missing
    assert row is not None
    return int(row[0])
