"""Pairs of the noise ledger have the mean of their scores: how much runs can differ depends on it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_OF_BOTH = "FROM reproduction WHERE reproduction.reproduction_id IN (noise.reproduction_id, noise.earlier_id)"
_SQLITE = f"UPDATE noise SET mean_score = (SELECT avg(json_extract(measurement, '$.score')) {_OF_BOTH})"  # noqa: S608
_POSTGRESQL = f"UPDATE noise SET mean_score = (SELECT avg((measurement ->> 'score')::float8) {_OF_BOTH})"  # noqa: S608


def upgrade() -> None:
    """Apply it."""
    op.add_column("noise", sa.Column("mean_score", sa.Double(), nullable=True))
    op.execute(_SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL)


def downgrade() -> None:
    """Take it back."""
    op.drop_column("noise", "mean_score")
