"""A key's secret can be changed, and the one before it works for a while."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add columns."""
    op.add_column("flf2v_keys", sa.Column("old_hash", sa.String(64)))
    op.add_column("flf2v_keys", sa.Column("old_until", sa.Float))
