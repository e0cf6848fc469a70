"""Claims that are verified again, verdicts that are stale, and comments that ask for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.add_column("claim", sa.Column("asked_priority", sa.Integer(), nullable=True))
    op.add_column("claim", sa.Column("fresh_after", sa.DateTime(timezone=True), nullable=True))
    op.add_column("claim", sa.Column("supersedes", sa.String(length=32), nullable=True))
    op.add_column("claim", sa.Column("superseded_by", sa.String(length=32), nullable=True))
    op.add_column("claim", sa.Column("stale_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("claim", sa.Column("stale_reason", sa.String(length=1000), nullable=True))
    op.create_index("claim_by_slot", "claim", ["slot", "created_at"])
    op.add_column("reproduction", sa.Column("asked_anew", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(
        "reproduction_asked_anew",
        "reproduction",
        ["key"],
        sqlite_where=sa.text("asked_anew"),
        postgresql_where=sa.text("asked_anew"),
    )
    op.add_column("spec_file", sa.Column("content_sha256", sa.String(length=64), nullable=True))
    op.create_table(
        "thread",
        sa.Column("model_id", sa.String(length=200), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "number"),
    )
    op.create_table(
        "heard_comment",
        sa.Column("comment_id", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=200), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("author", sa.String(length=100), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.String(length=4000), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("comment_id"),
    )
    op.create_index("heard_comment_by_thread", "heard_comment", ["model_id", "number"])


def downgrade() -> None:
    """Take it back."""
    op.drop_table("heard_comment")
    op.drop_table("thread")
    op.drop_column("spec_file", "content_sha256")
    op.drop_index("reproduction_asked_anew", "reproduction")
    op.drop_column("reproduction", "asked_anew")
    op.drop_index("claim_by_slot", "claim")
    for name in ("stale_reason", "stale_since", "superseded_by", "supersedes", "fresh_after", "asked_priority"):
        op.drop_column("claim", name)
