"""The inventory of numbers, and choosing one from it without reading the past."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

UPGRADE = """
-- Where a number is from, who carries its calls and what it can do.
ALTER TABLE numbers
    ADD COLUMN area text NOT NULL DEFAULT '',
    ADD COLUMN carrier text NOT NULL DEFAULT 'voice',
    ADD COLUMN capabilities text[] NOT NULL DEFAULT '{voice}',
    ADD COLUMN added_at timestamptz NOT NULL DEFAULT now();

-- What a party holds or held, and until when, from the index alone.
DROP INDEX routes_by_caller;
CREATE INDEX routes_by_caller ON routes (caller_hash) INCLUDE (virtual_number, held_until);

CREATE INDEX routes_pins ON routes (virtual_number, held_until) WHERE kind = 'pin';
CREATE INDEX routes_held ON routes (virtual_number, held_until);
"""

DOWNGRADE = """
DROP INDEX routes_held, routes_pins, routes_by_caller;
CREATE INDEX routes_by_caller ON routes (caller_hash);
ALTER TABLE numbers DROP COLUMN area, DROP COLUMN carrier, DROP COLUMN capabilities, DROP COLUMN added_at;
"""


def upgrade() -> None:
    """Extend the tables."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back; what numbers are described with is lost."""
    op.execute(DOWNGRADE)
