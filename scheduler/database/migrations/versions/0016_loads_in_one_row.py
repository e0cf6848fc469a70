"""Old loads of engines are one row for each pool, which says how many."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.add_column("engine_load", sa.Column("loads", sa.BigInteger(), nullable=False, server_default="1"))


def downgrade() -> None:
    """Take it back."""
    op.drop_column("engine_load", "loads")
