"""Accounts, numbers, sessions, routes, calls, the inbox, callbacks and settlements."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE accounts (
    auth_id      text PRIMARY KEY,
    token_hash   bytea NOT NULL,
    token_key_id text NOT NULL,
    token_sealed bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    disabled_at  timestamptz
);

CREATE TABLE numbers (
    number     text PRIMARY KEY,
    account_id text NOT NULL REFERENCES accounts,
    country    text NOT NULL,
    rank       bigint GENERATED ALWAYS AS IDENTITY,
    state      text NOT NULL DEFAULT 'available' CHECK (state IN ('available', 'draining', 'blocked'))
);
CREATE INDEX numbers_by_account ON numbers (account_id, rank);

CREATE TABLE sessions (
    session_uuid               text PRIMARY KEY,
    account_id                 text NOT NULL REFERENCES accounts,
    virtual_number             text NOT NULL,
    phase                      text NOT NULL,
    status                     text NOT NULL,
    created_at                 timestamptz NOT NULL,
    modified_at                timestamptz NOT NULL,
    expires_at                 timestamptz NOT NULL,
    rests_until                timestamptz,
    duration                   integer NOT NULL,
    first_party_hash           bytea NOT NULL,
    second_party_hash          bytea NOT NULL,
    key_id                     text NOT NULL,
    wrapped_key                bytea NOT NULL,
    sealed_terms               bytea NOT NULL,
    sealed_session             bytea NOT NULL,
    version                    bigint NOT NULL,
    total_call_count           integer NOT NULL DEFAULT 0,
    total_call_amount          numeric NOT NULL DEFAULT 0,
    total_call_billed_duration integer NOT NULL DEFAULT 0,
    settled_at                 timestamptz
);
CREATE INDEX sessions_by_account ON sessions (account_id, created_at DESC, session_uuid);
CREATE INDEX sessions_resting ON sessions (virtual_number, rests_until) WHERE rests_until IS NOT NULL;

-- One row per number and caller: the lease that makes a second live or cooling session impossible.
CREATE TABLE routes (
    virtual_number text NOT NULL,
    caller_hash    bytea NOT NULL,
    session_uuid   text NOT NULL,
    side           text NOT NULL CHECK (side IN ('first', 'second')),
    expires_at     timestamptz NOT NULL,
    held_until     timestamptz NOT NULL,
    PRIMARY KEY (virtual_number, caller_hash),
    CHECK (held_until >= expires_at)
);
CREATE INDEX routes_by_caller ON routes (caller_hash);
CREATE INDEX routes_by_session ON routes (session_uuid);

CREATE TABLE calls (
    call_uuid    text PRIMARY KEY,
    session_uuid text NOT NULL REFERENCES sessions,
    sealed_call  bytea NOT NULL,
    decision     text NOT NULL,
    reason       text NOT NULL,
    started_at   timestamptz NOT NULL,
    must_end_by  timestamptz NOT NULL,
    ended_at     timestamptz
);
CREATE INDEX calls_live ON calls (session_uuid) WHERE ended_at IS NULL;

-- What carriers told us, stored before it is acknowledged, forwarded to the workflow afterwards.
CREATE TABLE inbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     text NOT NULL UNIQUE,
    session_uuid text NOT NULL REFERENCES sessions,
    signal       text NOT NULL,
    sealed_event bytea NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now(),
    forwarded_at timestamptz,
    late         boolean NOT NULL DEFAULT false
);
CREATE INDEX inbox_waiting ON inbox (id) WHERE forwarded_at IS NULL;
CREATE INDEX inbox_waiting_by_session ON inbox (session_uuid) WHERE forwarded_at IS NULL;

CREATE TABLE callbacks (
    callback_id     text PRIMARY KEY,
    session_uuid    text NOT NULL REFERENCES sessions,
    kind            text NOT NULL CHECK (kind IN ('session', 'recording')),
    sequence        integer NOT NULL,
    ordinal         bigint GENERATED ALWAYS AS IDENTITY,
    sealed_callback bytea NOT NULL,
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts        integer NOT NULL DEFAULT 0,
    last_outcome    text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT now(),
    delivered_at    timestamptz,
    UNIQUE (session_uuid, kind, sequence)
);
CREATE INDEX callbacks_pending ON callbacks (session_uuid, ordinal) WHERE state = 'pending';

CREATE TABLE settlements (
    session_uuid               text PRIMARY KEY REFERENCES sessions,
    account_id                 text NOT NULL REFERENCES accounts,
    currency                   text NOT NULL,
    total_call_count           integer NOT NULL,
    total_call_amount          numeric NOT NULL,
    total_call_billed_duration integer NOT NULL,
    session_amount             numeric NOT NULL,
    total_session_amount       numeric NOT NULL,
    duration                   integer NOT NULL,
    last_interaction_time      timestamptz,
    settled_at                 timestamptz NOT NULL
);
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(TABLES)


def downgrade() -> None:
    """Drop them, with everything in them."""
    op.execute("DROP TABLE settlements, callbacks, inbox, calls, routes, sessions, numbers, accounts")
