"""Calls whose end was told before they were decided."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Kept for some minutes each, so that it stays small."""
    op.execute("CREATE TABLE undecided_ends ( call_uuid text PRIMARY KEY, told_at timestamptz NOT NULL DEFAULT now())")
    op.execute("CREATE INDEX undecided_ends_by_age ON undecided_ends (told_at)")


def downgrade() -> None:
    """Such a call keeps its session busy until its last possible second."""
    op.execute("DROP TABLE undecided_ends")
