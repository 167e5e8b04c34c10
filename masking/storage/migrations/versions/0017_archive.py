"""Which closed sessions' evidence is in the archive."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"

UPGRADE = """
-- The root hash is that of the pack in the archive. What could not be archived is tried again, later and later.
ALTER TABLE sessions ADD COLUMN archived_at timestamptz,
    ADD COLUMN archived_root text,
    ADD COLUMN archive_due_at timestamptz,
    ADD COLUMN archive_tries integer NOT NULL DEFAULT 0;
CREATE INDEX sessions_unarchived ON sessions (settled_at)
    WHERE settled_at IS NOT NULL AND archived_at IS NULL AND status <> 'erased';
"""

DOWNGRADE = """
DROP INDEX sessions_unarchived;
ALTER TABLE sessions DROP COLUMN archived_at, DROP COLUMN archived_root, DROP COLUMN archive_due_at,
    DROP COLUMN archive_tries;
"""


def upgrade() -> None:
    """Note it."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Forget it; the archive stays, and is found again."""
    op.execute(DOWNGRADE)
