"""Callbacks that are tried by themselves; events that wait, that cannot be read, and that came too late."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

UPGRADE = """
-- When a callback is to be tried next, and until when a sender has it in hand.
ALTER TABLE callbacks ADD COLUMN due_at timestamptz NOT NULL DEFAULT now(), ADD COLUMN claimed_until timestamptz;
CREATE INDEX callbacks_due ON callbacks (due_at) WHERE state = 'pending';

-- When an event is to be forwarded at the earliest, after Temporal did not take it; and whether it cannot be read.
ALTER TABLE inbox ADD COLUMN due_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN unreadable boolean NOT NULL DEFAULT false;
CREATE INDEX inbox_late ON inbox (session_uuid) WHERE late;

-- What late events add to or take from a bill that was closed. The bill itself never changes.
CREATE TABLE corrections (
    event_id        text PRIMARY KEY REFERENCES inbox (event_id),
    session_uuid    text NOT NULL REFERENCES settlements,
    call_count      integer NOT NULL,
    duration        integer NOT NULL,
    billed_duration integer NOT NULL,
    amount          numeric NOT NULL,
    currency        text NOT NULL,
    corrected_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX corrections_by_session ON corrections (session_uuid);
"""

DOWNGRADE = """
DROP TABLE corrections;
DROP INDEX inbox_late;
ALTER TABLE inbox DROP COLUMN due_at, DROP COLUMN attempts, DROP COLUMN unreadable;
DROP INDEX callbacks_due;
ALTER TABLE callbacks DROP COLUMN due_at, DROP COLUMN claimed_until;
"""


def upgrade() -> None:
    """Extend the tables."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back; corrections are lost."""
    op.execute(DOWNGRADE)
