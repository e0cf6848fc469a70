"""What is kept of an attempt that was handed back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.add_column(sa.Column("partial_sha256", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("partial_bytes", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("partial_answers", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.drop_column("partial_answers")
        batch_op.drop_column("partial_bytes")
        batch_op.drop_column("partial_sha256")
