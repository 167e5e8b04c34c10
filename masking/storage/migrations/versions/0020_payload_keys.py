"""Temporal's payloads are under each session's own key, and what other services write under a key of its day."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"

UPGRADE = """
-- What whoever started the session reads of its payloads is under: 'session' for its own key, 'master', or the id of
-- an ingress key. NULL for sessions of before: all of their payloads are under master keys.
ALTER TABLE sessions ADD COLUMN answers_under text;

-- Whether a day's ingress key is still needed goes by the sessions that lived on it. Rows come in this order.
CREATE INDEX sessions_by_time ON sessions USING brin (created_at);

-- The data keys of sessions that were started and are not open yet, or never were. An open one has it in its row.
CREATE TABLE session_keys (
    session_uuid text PRIMARY KEY,
    key_id       text NOT NULL,
    wrapped_key  bytea NOT NULL,
    made_at      timestamptz NOT NULL DEFAULT now()
);

-- A destroyed key leaves its row, without the key.
CREATE TABLE ingress_keys (
    day          date PRIMARY KEY,
    key_id       text NOT NULL,
    wrapped_key  bytea NOT NULL,
    destroyed_at timestamptz
);
"""


def upgrade() -> None:
    """Keep them."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Forget them; what is under ingress keys, or under the key of a session that is not open, is lost."""
    op.execute("DROP TABLE session_keys, ingress_keys")
    op.execute("DROP INDEX sessions_by_time")
    op.execute("ALTER TABLE sessions DROP COLUMN answers_under")
