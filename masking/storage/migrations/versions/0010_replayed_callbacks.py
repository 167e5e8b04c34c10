"""Callbacks that an operator had sent again are tried for as long as new ones."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Note when."""
    op.execute("ALTER TABLE callbacks ADD COLUMN replayed_at timestamptz")


def downgrade() -> None:
    """Forget when."""
    op.execute("ALTER TABLE callbacks DROP COLUMN replayed_at")
