"""The gateway's own tables, on SQLite or Postgres: what the API shows, and which attempt at a job counts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from .migrations import migrate

META = sa.MetaData()
_QUEUED: Any = {"postgresql_where": sa.text("state = 'queued'"), "sqlite_where": sa.text("state = 'queued'")}
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite numbers rows by itself for INTEGER alone

JOBS = sa.Table(
    "flf2v_jobs",
    META,
    sa.Column("seq", _BIG, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("owner", sa.String(36), nullable=False),
    sa.Column("api", sa.String(16), nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("workflow", sa.String(64), nullable=False),
    sa.Column("values", sa.JSON, nullable=False),
    sa.Column("shown", sa.JSON, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, default="queued"),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("worker", sa.Text, nullable=False, default=""),
    sa.Column("cancel", sa.Boolean, nullable=False, default=False),
    sa.Column("stage", sa.Text, nullable=False, default=""),
    sa.Column("progress", sa.Float, nullable=False, default=0.0),
    sa.Column("outputs", sa.JSON, nullable=False, default=list),
    sa.Column("error", sa.Text, nullable=False, default=""),
    sa.Column("webhook", sa.Text, nullable=False, default=""),
    sa.Column("webhook_all", sa.Boolean, nullable=False, default=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("started_at", sa.Float),
    sa.Column("finished_at", sa.Float),
    sa.Column("queue", sa.String(100), nullable=False, server_default=""),
    sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("ticket", sa.String(48), nullable=False, server_default=""),
    sa.Index("flf2v_jobs_state", "state", "seq"),
    sa.Index("flf2v_jobs_owner", "owner", "seq"),
    sa.Index("flf2v_jobs_history", "owner", "api", "seq"),
    sa.Index("flf2v_jobs_finished", "finished_at"),
    sa.Index("flf2v_jobs_waiting", "queue", "turn", "seq", **_QUEUED),
    sa.Index("flf2v_jobs_shares", "owner", "queue", "turn", **_QUEUED),
)
ATTEMPTS = sa.Table(
    "flf2v_attempts",
    META,
    sa.Column("job", sa.String(36), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("prompt", sa.String(36), nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("outcome", sa.Text, nullable=False, default=""),
)
ASSETS = sa.Table(
    "flf2v_assets",
    META,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("owner", sa.String(36), nullable=False),
    sa.Column("job", sa.String(36), nullable=False, default=""),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("complete", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("kind", sa.String(8), nullable=False, server_default=""),
    sa.Column("content", sa.String(64), nullable=False, server_default=""),
    sa.Index("flf2v_assets_owner", "owner", "created_at"),
    sa.Index("flf2v_assets_job", "job"),
    sa.Index("flf2v_assets_content", "content"),
)
BLOBS = sa.Table(
    "flf2v_blobs",
    META,
    sa.Column("asset", sa.String(64), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
KEYS = sa.Table(
    "flf2v_keys",
    META,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("used_at", sa.Float),
    sa.Column("revoked_at", sa.Float),
    sa.Column("expires_at", sa.Float),
    sa.Column("webhook_turn", sa.Integer, nullable=False, server_default="0"),
    sa.Column("webhook_turned_at", sa.Float),
    sa.Column("old_hash", sa.String(64)),
    sa.Column("old_until", sa.Float),
)
RATES = sa.Table(
    "flf2v_rates",
    META,
    sa.Column("key", sa.String(120), primary_key=True),
    sa.Column("turn", sa.BigInteger, nullable=False),
    sa.Column("calls", sa.Integer, nullable=False),
    sa.Column("before", sa.Integer, nullable=False),
)
IDEMPOTENCY = sa.Table(
    "flf2v_idempotency",
    META,
    sa.Column("owner", sa.String(36), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("job", sa.String(36), nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)
OUTBOX = sa.Table(
    "flf2v_outbox",
    META,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("job", sa.String(36), nullable=False),
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False, default=0),
    sa.Column("state", sa.String(16), nullable=False, default="waiting"),
    sa.Column("next_at", sa.Float, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("problem", sa.Text, nullable=False, default=""),
    sa.Index("flf2v_outbox_due", "state", "next_at"),
)
WORKERS = sa.Table(
    "flf2v_workers",
    META,
    sa.Column("id", sa.String(120), primary_key=True),
    sa.Column("boot", sa.String(36), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("workflows", sa.JSON, nullable=False),
    sa.Column("info", sa.JSON, nullable=False),
    sa.Column("restarts", sa.Integer, nullable=False, default=0),
    sa.Column("beat_at", sa.Float, nullable=False),
    sa.Column("home", sa.String(36), nullable=False, server_default=""),
    sa.Column("queues", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("measured", sa.JSON, nullable=False, server_default="{}"),
)
SECRETS = sa.Table(
    "flf2v_secrets",
    META,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)


class Database:
    """A connection pool with two ways in: ``read`` takes no lock, ``write`` is one transaction."""

    def __init__(self, url: str, connections: int = 32) -> None:
        self.url = url
        self.sqlite = url.startswith("sqlite")
        self.engine = _sqlite_engine(url) if self.sqlite else _postgres_engine(url, connections)
        self._reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._create()

    def _create(self) -> None:
        with self.write() as connection:
            if not self.sqlite:  # several processes may start at once
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(7215501)"))
            migrate(connection, META)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with."""
        with self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, committed (to the disk) when the block ends well."""
        with self.engine.begin() as connection:
            yield connection

    def wipe(self) -> None:
        """Take what was deleted out of SQLite's log too, as far as nobody reads there just now."""
        if self.sqlite:
            with self.read() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _sqlite_engine(url: str) -> Engine:
    path = url.removeprefix("sqlite:///")
    Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = sa.create_engine(url, pool_size=8, max_overflow=24)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout=30000")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten
        connection.execute("PRAGMA synchronous=FULL")  # an accepted job must survive a power cut

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # take the write lock now, not in the middle

    return engine


def _postgres_engine(url: str, connections: int) -> Engine:
    return sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=min(8, connections),
        max_overflow=max(0, connections - 8),
        pool_recycle=1800,
        # A ping before each use doubles a worker's transactions, and it tries again whatever finds a broken connection.
        pool_pre_ping=connections > 8,
    )


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


def new_id() -> str:
    """A fresh random id."""
    return str(uuid.uuid4())
