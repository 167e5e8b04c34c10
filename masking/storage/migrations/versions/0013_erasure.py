"""Sessions that were erased, those that must not be, and what certifies an erasure."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"

UPGRADE = """
CREATE TABLE legal_holds (
    session_uuid text PRIMARY KEY REFERENCES sessions,
    reason       text NOT NULL,
    held_at      timestamptz NOT NULL DEFAULT now()
);

-- The session's row stays, with its times and without its key, for the ledger; its status is then 'erased'.
CREATE TABLE erasures (
    session_uuid text PRIMARY KEY REFERENCES sessions,
    erased_at    timestamptz NOT NULL DEFAULT now(),
    certificate  jsonb
);
"""


def upgrade() -> None:
    """Keep them."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Forget them; what was erased stays erased."""
    op.execute("DROP TABLE erasures, legal_holds")
