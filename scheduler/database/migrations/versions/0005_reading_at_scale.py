"""Indexes for what dashboards ask for, and the webhooks that tell others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CLAIM_INDEXES: dict[str, tuple[list[str], list[str]]] = {
    "claim_by_state": (["state"], ["state", "since", "claim_id"]),
    "claim_by_model": (["model_id"], ["model_id", "created_at", "claim_id"]),
    "claim_by_dataset": (["dataset_id"], ["dataset_id", "created_at", "claim_id"]),
}
"""Columns before and after, by name."""


def upgrade() -> None:
    """Apply it."""
    for name, (_, columns) in CLAIM_INDEXES.items():
        op.drop_index(name, table_name="claim")
        op.create_index(name, "claim", columns)
    op.create_index("claim_by_change", "claim", ["since", "claim_id"])
    op.create_index("publication_by_state", "publication", ["state", "due_at"])
    op.create_table(
        "webhook",
        sa.Column("webhook_id", sa.String(length=32), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("secret", sa.String(length=100), nullable=False),
        sa.Column("filter", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("last_event_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("webhook_id"),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("delivery_id", sa.String(length=32), nullable=False),
        sa.Column("webhook_id", sa.String(length=32), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("detail", sa.String(length=1000), nullable=False),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhook.webhook_id"]),
        sa.PrimaryKeyConstraint("delivery_id"),
    )
    op.create_index("webhook_delivery_due", "webhook_delivery", ["due_at"])
    op.create_index("webhook_delivery_by_age", "webhook_delivery", ["webhook_id", "created_at", "delivery_id"])
    op.create_index("webhook_delivery_once", "webhook_delivery", ["webhook_id", "event_id"], unique=True)


def downgrade() -> None:
    """Take it back."""
    for name in ("webhook_delivery_once", "webhook_delivery_by_age", "webhook_delivery_due"):
        op.drop_index(name, table_name="webhook_delivery")
    op.drop_table("webhook_delivery")
    op.drop_table("webhook")
    op.drop_index("publication_by_state", table_name="publication")
    op.drop_index("claim_by_change", table_name="claim")
    for name, (columns, _) in CLAIM_INDEXES.items():
        op.drop_index(name, table_name="claim")
        op.create_index(name, "claim", columns)
