"""Jobs know their place and their ticket in the one queue; workers their home, what they take and what they measured."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns and the indexes that queries of a long queue and a long history need."""
    queued: Any = {"postgresql_where": sa.text("state = 'queued'"), "sqlite_where": sa.text("state = 'queued'")}
    op.add_column("flf2v_jobs", sa.Column("queue", sa.String(100), nullable=False, server_default=""))
    op.add_column("flf2v_jobs", sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("flf2v_jobs", sa.Column("ticket", sa.String(48), nullable=False, server_default=""))
    op.create_index("flf2v_jobs_waiting", "flf2v_jobs", ["queue", "turn", "seq"], **queued)
    op.create_index("flf2v_jobs_shares", "flf2v_jobs", ["owner", "queue", "turn"], **queued)
    op.create_index("flf2v_jobs_history", "flf2v_jobs", ["owner", "api", "seq"])
    op.create_index("flf2v_jobs_finished", "flf2v_jobs", ["finished_at"])
    op.add_column("flf2v_workers", sa.Column("home", sa.String(36), nullable=False, server_default=""))
    op.add_column("flf2v_workers", sa.Column("queues", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("flf2v_workers", sa.Column("measured", sa.JSON, nullable=False, server_default="{}"))
