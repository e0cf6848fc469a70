"""A linked log whose readers were lost is not read for ever, and no attempt goes on for ever."""

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
    op.add_column("attempt", sa.Column("begun_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Take it back."""
    op.drop_column("attempt", "begun_at")
    op.drop_column("claim", "log_readings")
