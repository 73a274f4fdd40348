"""From the first release's tables, which had no version, to the second's."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = None


def upgrade() -> None:
    """Jobs are in the one queue with their acceptance, files are stored once by content, keys end and have secrets."""
    queued: Any = {"postgresql_where": sa.text("state = 'queued'"), "sqlite_where": sa.text("state = 'queued'")}
    op.add_column("flf2v_jobs", sa.Column("queue", sa.String(100), nullable=False, server_default=""))
    op.add_column("flf2v_jobs", sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("flf2v_jobs", sa.Column("ticket", sa.String(48), nullable=False, server_default=""))
    # Its queue is not today's: what has not ended waits as in an older release's queue, and is moved from there.
    op.execute(
        "UPDATE flf2v_jobs SET state = 'queued', worker = '', queue = workflow || '.first', turn = seq, ticket = id || '/0' "
        "WHERE state IN ('queued', 'running')"
    )
    op.create_index("flf2v_jobs_waiting", "flf2v_jobs", ["queue", "turn", "seq"], **queued)
    op.create_index("flf2v_jobs_shares", "flf2v_jobs", ["owner", "queue", "turn"], **queued)
    op.create_index("flf2v_jobs_history", "flf2v_jobs", ["owner", "api", "seq"])
    op.create_index("flf2v_jobs_finished", "flf2v_jobs", ["finished_at"])
    op.drop_index("flf2v_jobs_fed", "flf2v_jobs")
    op.drop_column("flf2v_jobs", "fed")
    op.add_column("flf2v_workers", sa.Column("home", sa.String(36), nullable=False, server_default=""))
    op.add_column("flf2v_workers", sa.Column("queues", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("flf2v_workers", sa.Column("measured", sa.JSON, nullable=False, server_default="{}"))
    op.add_column("flf2v_assets", sa.Column("kind", sa.String(8), nullable=False, server_default=""))
    op.add_column("flf2v_assets", sa.Column("content", sa.String(64), nullable=False, server_default=""))
    op.execute("UPDATE flf2v_assets SET content = id WHERE complete")  # a file of the first release lies under its id
    op.create_index("flf2v_assets_content", "flf2v_assets", ["content"])
    with op.batch_alter_table("flf2v_blobs") as table:
        table.alter_column("asset", type_=sa.String(64), existing_type=sa.String(32), existing_nullable=False)
    op.add_column("flf2v_keys", sa.Column("expires_at", sa.Float))
    op.add_column("flf2v_keys", sa.Column("webhook_turn", sa.Integer, nullable=False, server_default="0"))
    op.add_column("flf2v_keys", sa.Column("webhook_turned_at", sa.Float))
    op.add_column("flf2v_keys", sa.Column("old_hash", sa.String(64)))
    op.add_column("flf2v_keys", sa.Column("old_until", sa.Float))
    op.create_table(
        "flf2v_rates",
        sa.Column("key", sa.String(120), primary_key=True),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("before", sa.Integer, nullable=False),
    )
