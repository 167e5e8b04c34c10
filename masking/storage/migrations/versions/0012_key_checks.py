"""Which master keys the database was written with."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Keep a check of each."""
    op.execute("CREATE TABLE key_checks (key_id text PRIMARY KEY, sealed bytea NOT NULL)")


def downgrade() -> None:
    """Forget them."""
    op.execute("DROP TABLE key_checks")
