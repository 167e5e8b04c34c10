"""Alembic's entry: runs on the connection that `masking.storage.migrate` opened."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

# Any constant: whoever migrates first makes the others wait for the end of its transaction.
ADVISORY_LOCK = 7_246_001

connection = context.config.attributes["connection"]
connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
