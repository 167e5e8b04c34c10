"""Carriers that rest after failures in a row; deleting recordings at the carrier, by account."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"

UPGRADE = """
-- How often a carrier has failed in a row; with a moment until which it is asked nothing, once that is too often. As
-- with turns, nothing is lost by losing it.
CREATE UNLOGGED TABLE carrier_failures (
    account     text PRIMARY KEY,
    in_a_row    integer NOT NULL,
    rests_until timestamptz
) WITH (fillfactor = 10);

-- Whether the carrier deletes recordings of the account once they are fetched; NULL for what the settings, or the main
-- account, say.
ALTER TABLE accounts ADD COLUMN delete_recordings boolean;
"""


def upgrade() -> None:
    """Keep them."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Forget them."""
    op.execute("DROP TABLE carrier_failures")
    op.execute("ALTER TABLE accounts DROP COLUMN delete_recordings")
