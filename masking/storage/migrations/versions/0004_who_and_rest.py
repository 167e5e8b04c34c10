"""Numbers at rest from the index alone, and which parties a session had when."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

UPGRADE = """
DROP INDEX sessions_resting;
CREATE INDEX sessions_resting ON sessions (virtual_number, rests_until) INCLUDE (expires_at)
    WHERE rests_until IS NOT NULL;
"""

DOWNGRADE = """
DROP INDEX sessions_resting;
CREATE INDEX sessions_resting ON sessions (virtual_number, rests_until) WHERE rests_until IS NOT NULL;
"""


def upgrade() -> None:
    """Extend the tables."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back."""
    op.execute(DOWNGRADE)
