"""How often a session was resumed, so that no workflow that was lost writes over the one that goes on."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Of those there are, none was."""
    op.execute("ALTER TABLE sessions ADD COLUMN resumptions integer NOT NULL DEFAULT 0")


def downgrade() -> None:
    """Forget it."""
    op.execute("ALTER TABLE sessions DROP COLUMN resumptions")
