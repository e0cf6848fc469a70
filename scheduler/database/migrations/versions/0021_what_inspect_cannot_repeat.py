"""Runs of a sound task beside others for which Inspect refuses the eval.yaml have no command that repeats them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.add_column("reproduction", sa.Column("spec_refusal", sa.String(length=2000), nullable=True))


def downgrade() -> None:
    """Take it back."""
    op.drop_column("reproduction", "spec_refusal")
