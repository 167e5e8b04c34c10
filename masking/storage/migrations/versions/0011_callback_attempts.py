"""Every try of a callback, who has a session's in hand, and the customers' endpoints that keep failing."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

UPGRADE = """
CREATE TABLE callback_attempts (
    callback_id   text NOT NULL REFERENCES callbacks ON DELETE CASCADE,
    began_at      timestamptz NOT NULL,
    duration_ms   integer NOT NULL,
    outcome       text NOT NULL,
    status        smallint,
    -- The first bytes of the answer, under the session's key: a customer may quote what it was sent.
    sealed_answer bytea,
    PRIMARY KEY (callback_id, began_at)
);
CREATE INDEX callbacks_dead ON callbacks (ordinal) WHERE state = 'dead';

-- A session's callbacks are in one sender's hands until then. It takes the place of a note on each of them.
CREATE TABLE callback_claims (
    session_uuid text PRIMARY KEY,
    until        timestamptz NOT NULL
);
ALTER TABLE callbacks DROP COLUMN claimed_until;

-- One row while callbacks to an endpoint keep failing. The endpoint itself is sealed: a host name may be a secret.
CREATE TABLE callback_endpoints (
    endpoint_hash   bytea PRIMARY KEY,
    owner_id        text NOT NULL,
    key_id          text NOT NULL,
    sealed_endpoint bytea NOT NULL,
    failures        integer NOT NULL,
    last_outcome    text NOT NULL,
    rests_until     timestamptz NOT NULL
);
"""

DOWNGRADE = """
DROP TABLE callback_endpoints;
DROP TABLE callback_claims;
ALTER TABLE callbacks ADD COLUMN claimed_until timestamptz;
DROP INDEX callbacks_dead;
DROP TABLE callback_attempts;
"""


def upgrade() -> None:
    """Keep them."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Forget them."""
    op.execute(DOWNGRADE)
