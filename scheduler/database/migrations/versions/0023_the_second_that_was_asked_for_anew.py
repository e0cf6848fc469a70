"""Which runs are the second of what was asked for anew is fixed when they are planned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.add_column("reproduction", sa.Column("second_anew", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Take it back."""
    op.drop_column("reproduction", "second_anew")
