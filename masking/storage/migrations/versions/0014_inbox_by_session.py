"""Finding all events of a session, those that were forwarded too."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Serve the events that wait and all others by one index."""
    op.execute("CREATE INDEX inbox_by_session ON inbox (session_uuid)")
    op.execute("DROP INDEX inbox_waiting_by_session")


def downgrade() -> None:
    """Find only those that wait."""
    op.execute("CREATE INDEX inbox_waiting_by_session ON inbox (session_uuid) WHERE forwarded_at IS NULL")
    op.execute("DROP INDEX inbox_by_session")
