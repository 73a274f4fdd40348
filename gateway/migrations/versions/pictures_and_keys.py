"""Files are stored once by content and belong to a job; keys may end and have webhook secrets; submits are counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add columns; a file of the release before lies under its asset's id, which is its ``content`` then."""
    op.add_column("flf2v_assets", sa.Column("kind", sa.String(8), nullable=False, server_default=""))
    op.add_column("flf2v_assets", sa.Column("content", sa.String(64), nullable=False, server_default=""))
    op.create_index("flf2v_assets_content", "flf2v_assets", ["content"])
    with op.batch_alter_table("flf2v_blobs") as table:
        table.alter_column("asset", type_=sa.String(64), existing_type=sa.String(32), existing_nullable=False)
    op.add_column("flf2v_keys", sa.Column("expires_at", sa.Float))
    op.add_column("flf2v_keys", sa.Column("webhook_turn", sa.Integer, nullable=False, server_default="0"))
    op.add_column("flf2v_keys", sa.Column("webhook_turned_at", sa.Float))
    op.create_table(
        "flf2v_rates",
        sa.Column("key", sa.String(120), primary_key=True),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("before", sa.Integer, nullable=False),
    )
