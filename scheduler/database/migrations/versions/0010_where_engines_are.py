"""Which engine a reproduction needs, which one each worker has, and to whom a batch was sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.add_column("reproduction", sa.Column("engine_key", sa.String(length=64), nullable=True))
    op.add_column("reproduction", sa.Column("sent_to", sa.String(length=200), nullable=True))
    op.create_index(
        "reproduction_by_engine",
        "reproduction",
        ["pool", "engine_key", "priority", "created_at"],
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.add_column("worker", sa.Column("engine_key", sa.String(length=64), nullable=True))
    op.add_column("worker", sa.Column("asleep", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("worker", sa.Column("passed_over_until", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Take it back."""
    op.drop_column("worker", "passed_over_until")
    op.drop_column("worker", "asleep")
    op.drop_column("worker", "engine_key")
    op.drop_index("reproduction_by_engine", "reproduction")
    op.drop_column("reproduction", "sent_to")
    op.drop_column("reproduction", "engine_key")
