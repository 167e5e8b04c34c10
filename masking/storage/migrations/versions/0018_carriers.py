"""What all processes together ask of a carrier, carriers that take our credentials no more, and recordings to fetch."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"

UPGRADE = """
-- One moment for each limit of a carrier's account: when nothing of it is used any more. A crash may empty it: by the
-- time PostgreSQL answers again, nothing is in use.
CREATE UNLOGGED TABLE carrier_turns (
    account text NOT NULL,
    what    text NOT NULL,
    free_at timestamptz NOT NULL,
    PRIMARY KEY (account, what)
) WITH (fillfactor = 10);

-- Credentials, as a keyed hash, with which a carrier is asked nothing any more, since it does not take them.
CREATE TABLE carrier_stops (
    account     text NOT NULL,
    credentials bytea NOT NULL,
    why         text NOT NULL,
    since       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, credentials)
);

-- Recordings that are fetched from the carrier into our own storage. Of an erased session the audio is removed.
CREATE TABLE recordings (
    recording_id  text PRIMARY KEY,
    session_uuid  text NOT NULL REFERENCES sessions,
    sealed_source bytea NOT NULL,
    state         text NOT NULL DEFAULT 'waiting'
                  CHECK (state IN ('waiting', 'kept', 'lost', 'erased')),
    at_carrier    boolean NOT NULL DEFAULT true,
    to_delete     boolean NOT NULL,
    noted_at      timestamptz NOT NULL DEFAULT now(),
    due_at        timestamptz NOT NULL DEFAULT now(),
    tries         integer NOT NULL DEFAULT 0,
    kept_at       timestamptz,
    size          bigint
);
CREATE INDEX recordings_by_session ON recordings (session_uuid);
CREATE INDEX recordings_to_do ON recordings (due_at)
    WHERE state IN ('waiting', 'erased') OR (state = 'kept' AND at_carrier AND to_delete);
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Drop them; what was fetched stays where it is, and is not found any more."""
    op.execute("DROP TABLE recordings, carrier_stops, carrier_turns")
