"""Fixtures of the gateway's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wan_flf2v.gateway.attempts import AttemptStore
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.jobs import JobStore
from wan_flf2v.tests.missing import missing

from .postgres import postgres, programs
from .stores import Kit


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a Postgres server of our own; tests make databases in it. Without one they are skipped, but fail in CI."""
    if programs() is None:
        missing("no Postgres server (apt-get install postgresql)")
    with postgres() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of a fresh database."""
    import uuid

    import psycopg

    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type,unused-ignore]
    return postgres_server.rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    """The stores over a fresh database of either kind."""
    url = f"sqlite:///{tmp_path}/jobs.sqlite"
    if request.param == "postgres":
        url = str(request.getfixturevalue("postgres_url"))
    database = Database(url)
    jobs = JobStore(database)
    yield Kit(url, database, jobs, jobs.queue, AttemptStore(database, jobs.queue, 3))
    database.close()
