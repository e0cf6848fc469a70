"""Since when regular work is awaited: what never was done is told from what nobody has to do."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

MARKER = sa.table("marker", sa.column("name"), sa.column("held_until", sa.DateTime(timezone=True)))


def upgrade() -> None:
    """Apply it."""
    op.execute(sa.insert(MARKER).values(name="scheduler.awaited", held_until=datetime.now(UTC)))


def downgrade() -> None:
    """Take it back."""
    op.execute(sa.delete(MARKER).where(MARKER.c.name.in_(["scheduler.awaited", "scheduler.scan.got_through"])))
