"""Calls that connected nobody, counted apart from their sessions."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

UPGRADE = """
-- A row of its own, with one index: counting must neither rewrite a session nor wait for what holds it.
CREATE TABLE unconnected (
    session_uuid   text PRIMARY KEY REFERENCES sessions,
    declined_count integer NOT NULL DEFAULT 0,
    pin_count      integer NOT NULL DEFAULT 0
);
INSERT INTO unconnected SELECT session_uuid, declined_count, pin_count FROM sessions
    WHERE declined_count > 0 OR pin_count > 0;
ALTER TABLE sessions DROP COLUMN declined_count, DROP COLUMN pin_count;
"""

DOWNGRADE = """
ALTER TABLE sessions ADD COLUMN declined_count integer NOT NULL DEFAULT 0,
    ADD COLUMN pin_count integer NOT NULL DEFAULT 0;
UPDATE sessions s SET declined_count = u.declined_count, pin_count = u.pin_count
    FROM unconnected u WHERE u.session_uuid = s.session_uuid;
DROP TABLE unconnected;
"""


def upgrade() -> None:
    """Move the counts."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Move them back."""
    op.execute(DOWNGRADE)
