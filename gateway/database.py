"""The database, SQLite or Postgres: connections to it, its clock, and what it says when it is away."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from .migrations import migrate
from .tables import META

T = TypeVar("T")
log = logging.getLogger(__name__)


class Database:
    """A connection pool. ``with read()`` takes no lock; ``with write()`` is one transaction, on the disk at its end."""

    def __init__(self, url: str, connections: int = 32) -> None:
        self.url = url
        self.sqlite = url.startswith("sqlite")
        self.engine = _sqlite_engine(url) if self.sqlite else _postgres_engine(url, connections)
        self.read = self.engine.execution_options(isolation_level="AUTOCOMMIT").connect
        self.write = self.engine.begin
        with self.write() as connection:
            if not self.sqlite:  # several processes may start at once
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(7215501)"))
            migrate(connection, META)

    def insert(self, table: sa.Table, **row: Any) -> Any:
        """An insert that may say what to do ``on_conflict``."""
        return (sqlite if self.sqlite else postgresql).insert(table).values(**row)

    def rows(self, query: sa.Executable) -> Sequence[Any]:
        """What a query finds."""
        with self.read() as connection:
            return connection.execute(query).all()

    def first(self, query: sa.Executable) -> Any:
        """The first row that a query finds, or None."""
        with self.read() as connection:
            return connection.execute(query).first()

    def change(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        """Carry out one statement; returns how many rows it changed."""
        with self.write() as connection:
            return connection.execute(statement).rowcount

    def wipe(self) -> None:
        """Take what was deleted out of SQLite's log too, as far as nobody reads there just now."""
        if self.sqlite:
            with self.read() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _sqlite_engine(url: str) -> Engine:
    Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = sa.create_engine(url, pool_size=8, max_overflow=24)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout=30000")
        with suppress(sqlite3.OperationalError):  # another process is about to do it: for this SQLite does not wait
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten
        connection.execute("PRAGMA synchronous=FULL")  # an accepted job must survive a power cut

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # take the write lock now, not in the middle

    return engine


# A host that went away without a word, seconds; tcp_user_timeout in milliseconds. The URL's own values count first.
_DEAD_HOST = {"connect_timeout": "10", "tcp_user_timeout": "30000", "keepalives_idle": "15", "keepalives_interval": "5"}


def _postgres_engine(url: str, connections: int) -> Engine:
    named = sa.make_url(url).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(
        named.update_query_dict({**_DEAD_HOST, **named.query}),
        pool_size=min(8, connections),
        max_overflow=max(0, connections - 8),
        pool_recycle=1800,
        # A ping before each use doubles a worker's transactions, and it tries again whatever finds a broken connection.
        pool_pre_ping=connections > 8,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:  # the other way round: the locks of a host that went away go
        connection.execute("SET idle_in_transaction_session_timeout = '60s'")  # poolers refuse it in the URL
        connection.commit()

    return engine


def now() -> float:
    """This machine's time, Unix seconds: for what is shown or compared with a file's time."""
    return time.time()


class clock(FunctionElement[float]):  # noqa: N801 - used as SQL's functions are
    """The database's time, Unix seconds: several machines write the tables, and their clocks differ."""

    type = sa.Float()
    inherit_cache = True


@compiles(clock, "postgresql")
def _postgres_clock(*_: Any, **__: Any) -> str:
    return "EXTRACT(EPOCH FROM clock_timestamp())::float8"


@compiles(clock, "sqlite")
def _sqlite_clock(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


def is_away(error: BaseException) -> bool:
    """Whether this says that the database is away for the moment: gone, starting, read-only, or full of connections."""
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return True
    if not isinstance(error, sqlalchemy.exc.DBAPIError):
        return False
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return (
        error.connection_invalidated
        or isinstance(error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError))
        or state == "25006"  # a primary that became a standby takes no writes
        or state.startswith(("08", "57P", "53"))
    )


async def patiently(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """What a blocking function returns, in a thread, tried again and again while the database is away."""
    while True:
        try:
            return await asyncio.to_thread(function, *args, **kwargs)
        except sqlalchemy.exc.SQLAlchemyError as error:
            if not is_away(error):
                raise
            log.error("the database is away; tried again", extra={"problem": type(error).__name__})
            await asyncio.sleep(1)


def new_id() -> str:
    """A fresh random id."""
    return str(uuid.uuid4())
