"""What Alembic runs: the revisions, in the transaction that the caller holds."""

from __future__ import annotations

from alembic import context

VERSION_TABLE = "flf2v_version"  # Alembic runs this file by its path, so it can import no neighbour

attributes = context.config.attributes
context.configure(connection=attributes["connection"], target_metadata=attributes["meta"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
