"""How many messages were refused, as none of this farm's, by what their queue is for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    refused = op.create_table(
        "refused",
        sa.Column("queue", sa.String(20), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
    op.bulk_insert(refused, [{"queue": queue, "number": 0} for queue in ("control", "pool", "other")])


def downgrade() -> None:
    """Take it back."""
    op.drop_table("refused")
