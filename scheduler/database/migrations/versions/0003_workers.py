"""Workers, as they speak of themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.create_table(
        "worker",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("pool", sa.String(length=50), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=2000), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hardware", sa.String(length=500), nullable=False),
        sa.Column("memory", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("engine", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    with op.batch_alter_table("worker", schema=None) as batch_op:
        batch_op.create_index("worker_by_pool", ["pool", "state"], unique=False)
        batch_op.create_index("worker_by_due", ["due_at"], unique=False)


def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table("worker", schema=None) as batch_op:
        batch_op.drop_index("worker_by_due")
        batch_op.drop_index("worker_by_pool")

    op.drop_table("worker")
