"""The tables of the first release, which had no versions: they are there."""

from __future__ import annotations

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Nothing to do: a fresh database starts at the newest schema."""
