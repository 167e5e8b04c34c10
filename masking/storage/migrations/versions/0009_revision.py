"""The revision of the rules that a session follows, so that its workflow is told only what it understands."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Let a session tell its revision; those of code that knows of none are of the first."""
    op.execute("ALTER TABLE sessions ADD revision smallint NOT NULL DEFAULT 1")


def downgrade() -> None:
    """Forget it."""
    op.execute("ALTER TABLE sessions DROP revision")
