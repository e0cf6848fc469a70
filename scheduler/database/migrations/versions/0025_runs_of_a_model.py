"""Which runs of a model were planned of late is asked with every claim that is planned."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.create_index("reproduction_by_model", "reproduction", ["model_id", "created_at"])


def downgrade() -> None:
    """Take it back."""
    op.drop_index("reproduction_by_model", "reproduction")
