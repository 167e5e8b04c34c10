"""Who masks the sessions of an account, where it is not whom the settings name."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Let an account name its carrier; NULL leaves it to its main account, and to the settings."""
    op.execute("ALTER TABLE accounts ADD COLUMN carrier text CHECK (carrier IN ('voice', 'plivo'))")


def downgrade() -> None:
    """Forget it."""
    op.execute("ALTER TABLE accounts DROP COLUMN carrier")
