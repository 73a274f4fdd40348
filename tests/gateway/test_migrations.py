"""The schema's versions: a first release's tables are brought up, a newer release's are left alone or refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from wan_flf2v.gateway.attempts import AttemptStore
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.jobs import JobStore
from wan_flf2v.gateway.migrations import VERSION_TABLE
from wan_flf2v.gateway.queue import queue_of
from wan_flf2v.gateway.settings import GatewayError, Timing
from wan_flf2v.gateway.tables import META, Worker
from wan_flf2v.gateway.upkeep import Upkeep
from wan_flf2v.gateway.workers import WorkerStore

# The first release's tables, as it made them.
FIRST = """
CREATE TABLE flf2v_jobs (seq {serial}, id VARCHAR(36) NOT NULL, owner VARCHAR(36) NOT NULL, api VARCHAR(16) NOT NULL,
 model TEXT NOT NULL, workflow VARCHAR(64) NOT NULL, "values" JSON NOT NULL, shown JSON NOT NULL, state VARCHAR(16) NOT NULL,
 fed BOOLEAN NOT NULL, attempt INTEGER NOT NULL, worker TEXT NOT NULL, cancel BOOLEAN NOT NULL, stage TEXT NOT NULL,
 progress FLOAT NOT NULL, outputs JSON NOT NULL, error TEXT NOT NULL, webhook TEXT NOT NULL, webhook_all BOOLEAN NOT NULL,
 created_at FLOAT NOT NULL, started_at FLOAT, finished_at FLOAT, PRIMARY KEY (seq), UNIQUE (id));
CREATE INDEX flf2v_jobs_state ON flf2v_jobs (state, seq);
CREATE INDEX flf2v_jobs_owner ON flf2v_jobs (owner, seq);
CREATE INDEX flf2v_jobs_fed ON flf2v_jobs (fed, state, seq);
CREATE TABLE flf2v_attempts (job VARCHAR(36) NOT NULL, attempt INTEGER NOT NULL, worker TEXT NOT NULL,
 prompt VARCHAR(36) NOT NULL, started_at FLOAT NOT NULL, ended_at FLOAT, outcome TEXT NOT NULL, PRIMARY KEY (job, attempt));
CREATE TABLE flf2v_assets (id VARCHAR(32) NOT NULL, owner VARCHAR(36) NOT NULL, job VARCHAR(36) NOT NULL,
 filename TEXT NOT NULL, media_type TEXT NOT NULL, size BIGINT NOT NULL, complete BOOLEAN NOT NULL,
 created_at FLOAT NOT NULL, PRIMARY KEY (id));
CREATE INDEX flf2v_assets_owner ON flf2v_assets (owner, created_at);
CREATE INDEX flf2v_assets_job ON flf2v_assets (job);
CREATE TABLE flf2v_blobs (asset VARCHAR(32) NOT NULL, part INTEGER NOT NULL, data {bytes} NOT NULL,
 PRIMARY KEY (asset, part));
CREATE TABLE flf2v_keys (id VARCHAR(36) NOT NULL, name TEXT NOT NULL, hash VARCHAR(64) NOT NULL, scopes JSON NOT NULL,
 created_at FLOAT NOT NULL, used_at FLOAT, revoked_at FLOAT, PRIMARY KEY (id), UNIQUE (hash));
CREATE TABLE flf2v_idempotency (owner VARCHAR(36) NOT NULL, "key" VARCHAR(255) NOT NULL, digest VARCHAR(64) NOT NULL,
 job VARCHAR(36) NOT NULL, created_at FLOAT NOT NULL, PRIMARY KEY (owner, "key"));
CREATE TABLE flf2v_outbox (id VARCHAR(36) NOT NULL, job VARCHAR(36) NOT NULL, event VARCHAR(16) NOT NULL,
 tries INTEGER NOT NULL, state VARCHAR(16) NOT NULL, next_at FLOAT NOT NULL, created_at FLOAT NOT NULL,
 problem TEXT NOT NULL, PRIMARY KEY (id));
CREATE INDEX flf2v_outbox_due ON flf2v_outbox (state, next_at);
CREATE TABLE flf2v_workers (id VARCHAR(120) NOT NULL, boot VARCHAR(36) NOT NULL, status VARCHAR(16) NOT NULL,
 workflows JSON NOT NULL, info JSON NOT NULL, restarts INTEGER NOT NULL, beat_at FLOAT NOT NULL, PRIMARY KEY (id));
CREATE TABLE flf2v_secrets (name VARCHAR(32) NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name));
INSERT INTO flf2v_secrets VALUES ('links', 'kept');
INSERT INTO flf2v_assets VALUES ('{asset}', 'local', 'j', 'a.png', 'image/png', 1, {true}, 1);
INSERT INTO flf2v_jobs (id, owner, api, model, workflow, "values", shown, state, fed, attempt, worker, cancel, stage,
 progress, outputs, error, webhook, webhook_all, created_at)
 VALUES {jobs};
"""
ASSET = "0123456789abcdef" * 2
JOBS = {f"7b6f6a5e-0000-4000-8000-00000000000{n}": state for n, state in enumerate(("succeeded", "running", "queued"))}
POSTGRES = {"serial": "BIGSERIAL", "bytes": "BYTEA", "true": "TRUE", "false": "FALSE", "asset": ASSET}
SQLITE = {"serial": "INTEGER NOT NULL", "bytes": "BLOB", "true": "1", "false": "0", "asset": ASSET}
for words in (POSTGRES, SQLITE):
    words["jobs"] = ", ".join(
        f"('{job}', 'local', 'model', 'm', 'wan22_flf2v', '{{\"6_text\": \"a\"}}', '{{}}', '{state}', {words['true']}, 1, "
        f"'{'' if state == 'queued' else 'w1'}', {words['false']}, '', 1, '[]', '', '', {words['false']}, 1)"
        for job, state in JOBS.items()
    )


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/jobs.sqlite"


def first_release(url: str) -> None:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for statement in FIRST.format(**SQLITE if url.startswith("sqlite") else POSTGRES).split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    engine.dispose()


def differences(database: Database) -> list[object]:
    with database.write() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return [
            change
            for change in compare_metadata(context, META)
            if not (change[0] == "remove_table" and not change[1].name.startswith("flf2v"))
            and change[0] not in ("modify_default", "add_constraint", "remove_constraint")
        ]


def test_the_first_releases_tables_become_todays_and_keep_what_is_in_them(url: str) -> None:
    first_release(url)
    for _ in range(2):  # the second start finds nothing to do
        database = Database(url)
        assert differences(database) == []
        with database.read() as connection:
            assert connection.execute(sa.text("SELECT value FROM flf2v_secrets WHERE name='links'")).scalar() == "kept"
            kept = connection.execute(sa.text("SELECT content FROM flf2v_assets")).scalars().all()
            assert kept == [ASSET]  # under which its bytes lie
            states = connection.execute(sa.text("SELECT state FROM flf2v_jobs ORDER BY seq")).scalars().all()
            assert states == ["succeeded", "queued", "queued"]
        database.close()


def test_the_first_releases_waiting_and_running_jobs_are_run(url: str) -> None:
    first_release(url)
    database = Database(url)
    jobs, workers = JobStore(database), WorkerStore(database, Timing())
    worker = Worker("new", "boot", "ready", ["wan22_flf2v"], {}, 0, "home", [queue_of("wan22_flf2v")])
    assert workers.enter(worker)
    assert workers.beat(worker)
    Upkeep(SimpleNamespace(jobs=jobs, workers=workers), AttemptStore(database, jobs.queue, 3)).clear_stranded()  # type: ignore[arg-type]
    taken = [jobs.queue.take("new@boot", worker.queues) for _ in range(3)]
    assert [ticket and ticket.split("/")[0] for ticket in taken] == [*list(JOBS)[1:], None]
    claim = AttemptStore(database, jobs.queue, 3).claim(taken[0] or "", "new")
    assert claim is not None
    assert claim.attempt == 2
    database.close()


def test_a_fresh_database_is_what_the_metadata_says(url: str) -> None:
    database = Database(url)
    assert differences(database) == []
    database.close()


@pytest.mark.parametrize(("oldest", "works"), [("0001", True), ("9998", False), (None, False)])
def test_an_older_release_works_beside_a_newer_ones_schema_where_that_one_says_so(
    url: str, oldest: str | None, works: bool
) -> None:
    database = Database(url)
    with database.write() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num='9999'"))
        connection.execute(sa.text("DELETE FROM flf2v_secrets WHERE name='schema-oldest'"))
        if oldest:
            connection.execute(sa.text(f"INSERT INTO flf2v_secrets VALUES ('schema-oldest', '{oldest}')"))
    database.close()
    if works:
        Database(url).close()
        return
    with pytest.raises(GatewayError, match="newer release"):
        Database(url)
