"""Brings the tables to this release's schema, and says whether this release may work with the schema it finds."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from ..settings import GatewayError

VERSION_TABLE = "flf2v_version"
# The oldest revision whose release still works on this one's schema. Gateways and workers are replaced one by one, so a
# revision only adds what the release before it can leave alone; what that one still needs goes a release later.
OLDEST = "0005"


def migrate(connection: Connection, meta: sa.MetaData) -> None:
    """Make or upgrade the tables in this transaction. Raises GatewayError when they are of a newer release."""
    script = ScriptDirectory(str(Path(__file__).parent))
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    head, current = script.get_current_head() or "", context.get_current_revision()
    if current == head:
        return
    secrets = meta.tables["flf2v_secrets"]
    oldest = secrets.c.name == "schema-oldest"
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        known = connection.execute(sa.select(secrets.c.value).where(oldest)).scalar()
        if known is None or head < str(known):
            raise GatewayError(
                f"The database can't be used: it is of a newer release (schema {current}), and this release, which knows "
                f"schema {head}, can't work beside it: install the newer release here too."
            )
        return
    if sa.inspect(connection).has_table("flf2v_jobs"):  # without a version they are the first release's
        with Operations.context(context):
            for revision in reversed([*script.iterate_revisions(head, current or "base")]):
                revision.module.upgrade()
    else:
        meta.create_all(connection)
    context.stamp(script, head)
    connection.execute(sa.delete(secrets).where(oldest))
    connection.execute(sa.insert(secrets).values(name="schema-oldest", value=OLDEST))
