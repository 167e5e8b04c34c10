"""Subaccounts and several tokens, lists, repeated creates, legs and recordings by id; PINs and strangers on numbers."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

UPGRADE = """
-- Main accounts (MA…) and their subaccounts (SA…).
ALTER TABLE accounts ADD COLUMN parent_id text REFERENCES accounts;
ALTER TABLE accounts ADD CHECK (auth_id ~ '^(MA|SA)[A-Z0-9]{18}$' AND (parent_id IS NULL) = (auth_id LIKE 'MA%'));

-- Several tokens of an account are valid while one takes over from another.
CREATE TABLE tokens (
    auth_id      text NOT NULL REFERENCES accounts,
    token_hash   bytea NOT NULL,
    token_key_id text NOT NULL,
    token_sealed bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    PRIMARY KEY (auth_id, token_hash)
);
INSERT INTO tokens (auth_id, token_hash, token_key_id, token_sealed)
    SELECT auth_id, token_hash, token_key_id, token_sealed FROM accounts;
ALTER TABLE accounts DROP COLUMN token_hash, DROP COLUMN token_key_id, DROP COLUMN token_sealed;

-- A party is unknown until somebody names it, in a session that was created with a single one.
ALTER TABLE sessions ADD COLUMN subaccount_id text REFERENCES accounts,
    ADD COLUMN sealed_last_caller bytea,
    ADD COLUMN first_call_asked_at timestamptz,
    ALTER COLUMN first_party_hash DROP NOT NULL,
    ALTER COLUMN second_party_hash DROP NOT NULL;

-- The lists: newest first within an account, alone or for one party, number or time of expiry.
DROP INDEX sessions_by_account;
CREATE INDEX sessions_by_account ON sessions (account_id, created_at DESC, session_uuid DESC)
    INCLUDE (status, expires_at, duration, subaccount_id);
CREATE INDEX sessions_by_first_party ON sessions (first_party_hash, created_at DESC);
CREATE INDEX sessions_by_second_party ON sessions (second_party_hash, created_at DESC);
CREATE INDEX sessions_by_number ON sessions (account_id, virtual_number, created_at DESC);
CREATE INDEX sessions_by_expiry ON sessions (account_id, expires_at);

-- A lease belongs to a phone number, to a PIN, or to anyone. `stranger` is none: it says that the session
-- has something to say to callers whom no lease knows, a question for the PIN or an announcement.
ALTER TABLE routes
    ADD COLUMN kind text NOT NULL DEFAULT 'number' CHECK (kind IN ('number', 'pin', 'anyone', 'stranger')),
    ADD COLUMN released boolean NOT NULL DEFAULT false;
CREATE INDEX routes_for_strangers ON routes (virtual_number, expires_at DESC) WHERE kind IN ('anyone', 'stranger');

-- Wrong PINs of late, by which guessing is slowed. The caller is a keyed hash, one for all who hide.
CREATE TABLE pin_failures (
    event_id       text PRIMARY KEY,
    virtual_number text NOT NULL,
    caller_hash    bytea NOT NULL,
    failed_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX pin_failures_by_number ON pin_failures (virtual_number, failed_at);
CREATE INDEX pin_failures_by_age ON pin_failures (failed_at);

-- Which session a leg or a recording belongs to, so that its resource can be found by its id.
CREATE TABLE resources (
    resource_id  text PRIMARY KEY,
    kind         text NOT NULL CHECK (kind IN ('leg', 'recording')),
    session_uuid text NOT NULL REFERENCES sessions,
    call_uuid    text NOT NULL
);

-- Creates whose repetition must give the same session: by the caller's key, or by account and body
-- until the caller has its answer.
CREATE TABLE creates (
    session_uuid text PRIMARY KEY,
    account_id   text NOT NULL REFERENCES accounts,
    key_hash     bytea,
    body_hash    bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (account_id, key_hash)
);
CREATE INDEX creates_by_body ON creates (account_id, body_hash) WHERE key_hash IS NULL;
CREATE INDEX creates_by_age ON creates (created_at);
"""

DOWNGRADE = """
DROP TABLE creates, resources, pin_failures;
DROP INDEX routes_for_strangers;
DELETE FROM routes WHERE kind <> 'number';
ALTER TABLE routes DROP COLUMN kind, DROP COLUMN released;
DROP INDEX sessions_by_expiry, sessions_by_number, sessions_by_second_party, sessions_by_first_party;
DROP INDEX sessions_by_account;
CREATE INDEX sessions_by_account ON sessions (account_id, created_at DESC, session_uuid);
ALTER TABLE sessions DROP COLUMN subaccount_id, DROP COLUMN sealed_last_caller, DROP COLUMN first_call_asked_at;
ALTER TABLE accounts ADD COLUMN token_hash bytea, ADD COLUMN token_key_id text, ADD COLUMN token_sealed bytea;
UPDATE accounts a SET token_hash = t.token_hash, token_key_id = t.token_key_id, token_sealed = t.token_sealed
    FROM (SELECT DISTINCT ON (auth_id) * FROM tokens ORDER BY auth_id, created_at DESC) t WHERE t.auth_id = a.auth_id;
ALTER TABLE accounts DROP COLUMN parent_id;
DROP TABLE tokens;
"""


def upgrade() -> None:
    """Extend the tables."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back, as far as one can: what only the newer tables could hold is lost."""
    op.execute(DOWNGRADE)
