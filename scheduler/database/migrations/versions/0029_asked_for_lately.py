"""What was asked for of late is looked for by when it was, however PostgreSQL joins the stale claims with it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

ASKED = sa.text("fresh_after IS NOT NULL")


def upgrade() -> None:
    """Apply it."""
    op.create_index("claim_by_asking", "claim", ["fresh_after"], sqlite_where=ASKED, postgresql_where=ASKED)


def downgrade() -> None:
    """Take it back."""
    op.drop_index("claim_by_asking", "claim")
