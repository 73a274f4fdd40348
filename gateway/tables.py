"""The gateway's own tables: what the API shows, and which attempt at a job counts. What has a class is read as that."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Kind = Literal["upload", "input", "output"]
Status = Literal["starting", "ready", "busy", "restarting", "unreachable", "quarantined", "draining", "stopped"]
OPEN_STATES = ("queued", "running")
_QUEUED: Any = {"postgresql_where": sa.text("state = 'queued'"), "sqlite_where": sa.text("state = 'queued'")}
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite numbers rows by itself for INTEGER alone


class Base(MappedAsDataclass, DeclarativeBase):
    """A row of a table, as a dataclass of its columns."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own name
        Mapping[str, Any]: sa.JSON,
        Sequence[str]: sa.JSON,
        Sequence[Mapping[str, Any]]: sa.JSON,
        State: sa.String(16),
        Status: sa.String(16),
        Kind: sa.String(8),
        str: sa.Text,
        float: sa.Float,
    }

    def columns(self) -> dict[str, Any]:
        """The value of each column."""
        return {column.key: getattr(self, column.key) for column in self.__table__.columns}


META = Base.metadata


class Job(Base, kw_only=True):
    """One job. ``values`` go to the workflow, ``shown`` is what was sent. A new one may have an idempotency key."""

    __tablename__ = "flf2v_jobs"
    seq: Mapped[int] = mapped_column(_BIG, primary_key=True, autoincrement=True, default=None)
    id: Mapped[str] = mapped_column(sa.String(36), unique=True, default_factory=lambda: str(uuid.uuid4()))
    owner: Mapped[str] = mapped_column(sa.String(36))
    api: Mapped[str] = mapped_column(sa.String(16))
    model: Mapped[str] = mapped_column(default="")
    workflow: Mapped[str] = mapped_column(sa.String(64), default="")
    values: Mapped[Mapping[str, Any]] = mapped_column(default_factory=dict)
    shown: Mapped[Mapping[str, Any]] = mapped_column(default_factory=dict)
    state: Mapped[State] = mapped_column(default="queued")
    attempt: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str] = mapped_column(default="")
    cancel: Mapped[bool] = mapped_column(default=False)
    stage: Mapped[str] = mapped_column(default="")
    progress: Mapped[float] = mapped_column(default=0.0)
    outputs: Mapped[Sequence[Mapping[str, Any]]] = mapped_column(default_factory=list)
    error: Mapped[str] = mapped_column(default="")
    webhook: Mapped[str] = mapped_column(default="")
    webhook_all: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[float] = mapped_column(default=0.0)
    started_at: Mapped[float | None] = mapped_column(default=None)
    finished_at: Mapped[float | None] = mapped_column(default=None)
    queue: Mapped[str] = mapped_column(sa.String(100), server_default="", default="")
    turn: Mapped[int] = mapped_column(sa.BigInteger, server_default="0", default=0)
    ticket: Mapped[str] = mapped_column(sa.String(48), server_default="", default="")
    idempotency_key: str = ""
    digest: str = ""
    __table_args__ = (
        sa.Index("flf2v_jobs_state", "state", "seq"),
        sa.Index("flf2v_jobs_owner", "owner", "seq"),
        sa.Index("flf2v_jobs_history", "owner", "api", "seq"),
        sa.Index("flf2v_jobs_finished", "finished_at"),
        sa.Index("flf2v_jobs_waiting", "queue", "turn", "seq", **_QUEUED),
        sa.Index("flf2v_jobs_shares", "owner", "queue", "turn", **_QUEUED),
    )


class Asset(Base):
    """One stored file. ``complete`` is False while an announced upload has not arrived."""

    __tablename__ = "flf2v_assets"
    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(36))
    job: Mapped[str] = mapped_column(sa.String(36), insert_default="")
    filename: Mapped[str]
    media_type: Mapped[str]
    size: Mapped[int] = mapped_column(sa.BigInteger)
    complete: Mapped[bool]
    created_at: Mapped[float]
    kind: Mapped[Kind] = mapped_column(server_default="")
    content: Mapped[str] = mapped_column(sa.String(64), server_default="")
    __table_args__ = (
        sa.Index("flf2v_assets_owner", "owner", "created_at"),
        sa.Index("flf2v_assets_job", "job"),
        sa.Index("flf2v_assets_content", "content"),
    )


class Worker(Base):
    """One worker as it reported itself ``age`` seconds ago; ``boot`` names its process's start, ``home`` its folder."""

    __tablename__ = "flf2v_workers"
    id: Mapped[str] = mapped_column(sa.String(120), primary_key=True)
    boot: Mapped[str] = mapped_column(sa.String(36))
    status: Mapped[Status]
    workflows: Mapped[Sequence[str]]
    info: Mapped[Mapping[str, Any]]
    restarts: Mapped[int] = mapped_column(insert_default=0)
    home: Mapped[str] = mapped_column(sa.String(36), server_default="", default="")
    queues: Mapped[Sequence[str]] = mapped_column(server_default="[]", default_factory=list)
    measured: Mapped[Mapping[str, Any]] = mapped_column(server_default="{}", default_factory=dict)
    beat_at: Mapped[float] = mapped_column(default=0.0)
    age: float = 0.0

    @property
    def able(self) -> bool:
        """Whether its ComfyUI answers and it takes jobs."""
        return self.status in ("ready", "busy")


class Key(Base):
    """An API key without its secret."""

    __tablename__ = "flf2v_keys"
    id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    name: Mapped[str]
    hash: Mapped[str] = mapped_column(sa.String(64), unique=True, repr=False)
    scopes: Mapped[Sequence[str]]
    created_at: Mapped[float]
    used_at: Mapped[float | None] = mapped_column(default=None)
    revoked_at: Mapped[float | None] = mapped_column(default=None)
    expires_at: Mapped[float | None] = mapped_column(default=None)
    webhook_turn: Mapped[int] = mapped_column(server_default="0", default=0)
    webhook_turned_at: Mapped[float | None] = mapped_column(default=None)
    old_hash: Mapped[str | None] = mapped_column(sa.String(64), default=None, repr=False)
    old_until: Mapped[float | None] = mapped_column(default=None)

    @property
    def state(self) -> str:
        """In a word, for lists."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= time.time():
            return "expired"
        return "used" if self.used_at else "never used"


JOBS, ASSETS, WORKERS, KEYS = (cast(sa.Table, row.__table__) for row in (Job, Asset, Worker, Key))
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
BLOBS = sa.Table(
    "flf2v_blobs",
    META,
    sa.Column("asset", sa.String(64), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
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
SECRETS = sa.Table(
    "flf2v_secrets",
    META,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
