"""Sessions that ask for PINs told apart, wrong PINs by caller, and a bound on what a session hears of such calls."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

UPGRADE = """
-- What a session has for callers whom nobody knows: `question` asks them for a PIN and goes before `stranger`,
-- which has an announcement only. The index is in the order in which such a caller finds them.
ALTER TABLE routes DROP CONSTRAINT routes_kind_check;
ALTER TABLE routes ADD CONSTRAINT routes_kind_check
    CHECK (kind IN ('number', 'pin', 'anyone', 'question', 'stranger'));
UPDATE routes r SET kind = 'question'
    WHERE kind = 'stranger' AND EXISTS (SELECT FROM routes p WHERE p.session_uuid = r.session_uuid AND p.kind = 'pin');
DROP INDEX routes_for_strangers;
CREATE INDEX routes_for_strangers ON routes (virtual_number, (kind = 'stranger'), expires_at DESC, session_uuid)
    WHERE kind IN ('anyone', 'question', 'stranger');

-- A caller's wrong PINs, on whichever number.
CREATE INDEX pin_failures_by_caller ON pin_failures (caller_hash, failed_at);

-- How many calls that were declined, and how many PINs that connected nobody, there were.
ALTER TABLE sessions ADD COLUMN declined_count integer NOT NULL DEFAULT 0,
    ADD COLUMN pin_count integer NOT NULL DEFAULT 0;
"""

DOWNGRADE = """
ALTER TABLE sessions DROP COLUMN declined_count, DROP COLUMN pin_count;
DROP INDEX pin_failures_by_caller, routes_for_strangers;
UPDATE routes SET kind = 'stranger' WHERE kind = 'question';
ALTER TABLE routes DROP CONSTRAINT routes_kind_check;
ALTER TABLE routes ADD CONSTRAINT routes_kind_check CHECK (kind IN ('number', 'pin', 'anyone', 'stranger'));
CREATE INDEX routes_for_strangers ON routes (virtual_number, expires_at DESC) WHERE kind IN ('anyone', 'stranger');
"""


def upgrade() -> None:
    """Extend the tables."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back; the counts are lost."""
    op.execute(DOWNGRADE)
