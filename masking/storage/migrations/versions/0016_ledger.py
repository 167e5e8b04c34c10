"""The ledger: double entries that are only ever added to, which PostgreSQL itself sees to."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"

UPGRADE = """
-- It refers to no other table, and outlives what they hold: it has to be whole for as long as books are kept.
CREATE TABLE ledger_entries (
    session_uuid    text NOT NULL,
    cause           text NOT NULL,
    leg             text NOT NULL CHECK (leg IN ('caller', 'callee', '')),
    kind            text NOT NULL CHECK (kind IN ('charge', 'fee', 'cost')),
    currency        text NOT NULL,
    account_id      text NOT NULL,
    leg_uuid        text NOT NULL,
    debit           text NOT NULL,
    credit          text NOT NULL CHECK (credit <> debit),
    amount          numeric NOT NULL CHECK (amount > 0 AND amount < 'Infinity'),
    duration        integer NOT NULL,
    billed_duration integer NOT NULL,
    occurred_at     timestamptz NOT NULL,
    posted_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_uuid, cause, leg, kind, currency)
);
CREATE INDEX ledger_entries_by_time ON ledger_entries (posted_at);
CREATE INDEX ledger_entries_by_leg ON ledger_entries (leg_uuid);

-- Bills that were closed before: their calls as one sum, and each correction.
INSERT INTO ledger_entries
    SELECT session_uuid, 'settlement', '', 'charge', currency, account_id, '', 'receivable:' || account_id,
           'revenue:calls', total_call_amount, 0, total_call_billed_duration, settled_at, settled_at
    FROM settlements WHERE total_call_amount > 0;
INSERT INTO ledger_entries
    SELECT c.session_uuid, c.event_id, '', 'charge', c.currency, s.account_id, '',
           CASE WHEN c.amount > 0 THEN 'receivable:' || s.account_id ELSE 'revenue:calls' END,
           CASE WHEN c.amount > 0 THEN 'revenue:calls' ELSE 'receivable:' || s.account_id END,
           abs(c.amount), c.duration, c.billed_duration, c.corrected_at, c.corrected_at
    FROM corrections c JOIN settlements s USING (session_uuid) WHERE c.amount <> 0;

CREATE FUNCTION refuse_to_change_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger_entries is append-only: corrections are new entries'
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_ledger();
"""


def upgrade() -> None:
    """Make it, with what was billed so far."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Drop it; settlements and corrections stay."""
    op.execute("DROP TABLE ledger_entries; DROP FUNCTION refuse_to_change_ledger()")
