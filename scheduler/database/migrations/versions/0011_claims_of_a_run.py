"""An index by which the claims that wait for a reproduction are found, whatever else waits."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.drop_index("claim_by_reproduction", "claim")
    op.create_index("claim_by_reproduction", "claim", ["reproduction_id", "state"])


def downgrade() -> None:
    """Take it back."""
    op.drop_index("claim_by_reproduction", "claim")
    op.create_index("claim_by_reproduction", "claim", ["reproduction_id"])
