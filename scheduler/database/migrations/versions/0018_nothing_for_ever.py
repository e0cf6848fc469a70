"""No linked log is read for ever, no attempt goes on for ever, and what waits for the operator says so by a column."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.add_column("claim", sa.Column("log_readings", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("reproduction", sa.Column("set_aside", sa.Boolean(), nullable=False, server_default=sa.false()))
    waits = "state = 'queued' AND reason LIKE 'waits for the farm''s operator: %'"
    op.execute(sa.text(f"UPDATE reproduction SET set_aside = true WHERE {waits}"))  # noqa: S608 - no text from outside
    op.add_column("attempt", sa.Column("begun_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Take it back."""
    op.drop_column("attempt", "begun_at")
    op.drop_column("reproduction", "set_aside")
    op.drop_column("claim", "log_readings")
