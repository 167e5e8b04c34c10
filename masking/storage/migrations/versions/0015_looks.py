"""Who looked at what is otherwise hidden; and finding the sessions that have been kept long enough."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"

UPGRADE = """
-- Without a foreign key: what was looked at may belong to no session that this database knows.
CREATE TABLE looks (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT now(),
    who          text NOT NULL,
    what         text NOT NULL,
    session_uuid text,
    how_many     integer NOT NULL CHECK (how_many > 0),
    why          text
);
CREATE INDEX looks_of_session ON looks (session_uuid, id) WHERE session_uuid IS NOT NULL;

CREATE FUNCTION looks_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'looks are never changed or deleted';
END
$$;
CREATE TRIGGER looks_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON looks
    FOR EACH STATEMENT EXECUTE FUNCTION looks_are_kept();

CREATE INDEX sessions_kept ON sessions (settled_at) WHERE settled_at IS NOT NULL AND status <> 'erased';
CREATE INDEX erasures_by_age ON erasures (erased_at);
CREATE INDEX erasures_begun ON erasures (erased_at) WHERE certificate IS NULL;
"""


def upgrade() -> None:
    """Keep them."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Forget them."""
    op.execute("DROP INDEX erasures_begun, erasures_by_age, sessions_kept")
    op.execute("DROP TABLE looks")
    op.execute("DROP FUNCTION looks_are_kept")
