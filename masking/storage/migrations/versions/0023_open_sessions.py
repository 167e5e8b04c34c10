"""Let the sessions whose bill is open be found among all that were ever kept."""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """In the order in which their time is over."""
    op.execute("CREATE INDEX sessions_open ON sessions (expires_at) WHERE settled_at IS NULL AND status <> 'erased'")


def downgrade() -> None:
    """All are read again."""
    op.execute("DROP INDEX sessions_open")
