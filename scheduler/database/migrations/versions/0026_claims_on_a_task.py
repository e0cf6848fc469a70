"""Claims on a task are found, whatever benchmark it is of."""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

NARROWER = {"claim_by_model": "model_id", "claim_by_dataset": "dataset_id", "claim_by_submitter": "submitter"}


def upgrade() -> None:
    """Apply it."""
    op.create_index("claim_by_task", "claim", ["task_id", "created_at", "claim_id"])
    if op.get_bind().dialect.name == "sqlite":
        # Of indexes that fit alike it takes the one made last, and tasks of many benchmarks have the same name.
        for name, column in NARROWER.items():
            op.drop_index(name, table_name="claim")
            op.create_index(name, "claim", [column, "created_at", "claim_id"])


def downgrade() -> None:
    """Take it back."""
    op.drop_index("claim_by_task", table_name="claim")
