"""Lists from the index alone, whichever filters narrow them."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

UPGRADE = """
-- One index for each filter that can leave many sessions, in the order of lists, with what the other filters
-- compare. Ascending, since new sessions then fill its pages; lists read it backwards.
DROP INDEX sessions_by_account, sessions_by_first_party, sessions_by_second_party, sessions_by_number;
CREATE INDEX sessions_by_account ON sessions (account_id, created_at, session_uuid)
    INCLUDE (expires_at, duration, status);
CREATE INDEX sessions_by_subaccount ON sessions (account_id, subaccount_id, created_at, session_uuid)
    INCLUDE (expires_at, duration, status) WHERE subaccount_id IS NOT NULL;
CREATE INDEX sessions_by_number ON sessions (account_id, virtual_number, created_at, session_uuid)
    INCLUDE (expires_at, duration, status, subaccount_id);
CREATE INDEX sessions_by_first_party ON sessions (account_id, first_party_hash, created_at, session_uuid)
    INCLUDE (expires_at, duration, status, subaccount_id, virtual_number, second_party_hash);
CREATE INDEX sessions_by_second_party ON sessions (account_id, second_party_hash, created_at, session_uuid)
    INCLUDE (expires_at, duration, status, subaccount_id, virtual_number);

-- How long an account's longest session lasts bounds when one that expires at a time can have been created.
DROP INDEX sessions_by_expiry;
CREATE INDEX sessions_by_duration ON sessions (account_id, duration);
"""

DOWNGRADE = """
DROP INDEX sessions_by_duration, sessions_by_second_party, sessions_by_first_party, sessions_by_number,
    sessions_by_subaccount, sessions_by_account;
CREATE INDEX sessions_by_account ON sessions (account_id, created_at DESC, session_uuid DESC)
    INCLUDE (status, expires_at, duration, subaccount_id);
CREATE INDEX sessions_by_first_party ON sessions (first_party_hash, created_at DESC);
CREATE INDEX sessions_by_second_party ON sessions (second_party_hash, created_at DESC);
CREATE INDEX sessions_by_number ON sessions (account_id, virtual_number, created_at DESC);
CREATE INDEX sessions_by_expiry ON sessions (account_id, expires_at);
"""


def upgrade() -> None:
    """Make the indexes anew."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back."""
    op.execute(DOWNGRADE)
