"""Jobs are in the queue with their acceptance; nothing is fed to it any more."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Drop what the feeding needed."""
    op.drop_index("flf2v_jobs_fed", "flf2v_jobs")
    op.drop_column("flf2v_jobs", "fed")
