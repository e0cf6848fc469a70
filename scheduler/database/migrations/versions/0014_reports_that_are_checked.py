"""What a worker reported, for as long as it is being checked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.add_column("attempt", sa.Column("report", sa.JSON(), nullable=True))
    op.add_column("attempt", sa.Column("report_checks", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Take it back."""
    op.drop_column("attempt", "report_checks")
    op.drop_column("attempt", "report")
