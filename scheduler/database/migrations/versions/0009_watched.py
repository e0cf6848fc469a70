"""Figures for Prometheus: engine loads, the Hub's rate limit, and ways to count without reading everything."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.create_table(
        "engine_load",
        sa.Column("worker", sa.String(length=200), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("pool", sa.String(length=50), nullable=False),
        sa.Column("model_id", sa.String(length=200), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("worker", "started_at"),
    )
    op.create_index("engine_load_by_age", "engine_load", ["noted_at"])
    op.create_table(
        "hub_limit",
        sa.Column("resource", sa.String(length=20), nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.Column("quota", sa.Integer(), nullable=True),
        sa.Column("resets_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("resource"),
    )
    op.create_index("attempt_by_end", "attempt", ["ended_at"])
    # On PostgreSQL it held every message that was ever sent, and so did not help to find those that were not.
    op.drop_index("outbox_unsent", "outbox")
    op.create_index(
        "outbox_unsent",
        "outbox",
        ["created_at"],
        sqlite_where=sa.text("sent_at IS NULL"),
        postgresql_where=sa.text("sent_at IS NULL"),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_index("outbox_unsent", "outbox")
    op.create_index("outbox_unsent", "outbox", ["created_at"], sqlite_where=sa.text("sent_at IS NULL"))
    op.drop_index("attempt_by_end", "attempt")
    op.drop_table("hub_limit")
    op.drop_table("engine_load")
