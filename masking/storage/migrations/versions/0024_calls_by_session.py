"""Finding all calls of a session, those that have ended too."""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Let neither evidence nor an erasure read the calls of all sessions. `calls_live` stays: it is small."""
    op.execute("CREATE INDEX calls_by_session ON calls (session_uuid)")


def downgrade() -> None:
    """Find only those that go on."""
    op.execute("DROP INDEX calls_by_session")
