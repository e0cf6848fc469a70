"""What somebody else's proof kept out of an entry has a state of its own, also where an earlier version wrote it."""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.execute(
        "UPDATE publication SET state = 'kept_out' WHERE state = 'published' AND number IS NULL"
        " AND reason = 'the entry carries somebody else''s proof, which is not replaced'"
    )


def downgrade() -> None:
    """Take it back: the earlier version knows no such state, and shows no claim that has one."""
    op.execute("UPDATE publication SET state = 'published' WHERE state = 'kept_out'")
