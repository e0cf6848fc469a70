"""What regular tasks look for is found by what changed or is due, whatever else there is."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

PARTIAL: dict[str, tuple[str, list[str], str]] = {
    "claim_by_staleness": ("claim", ["state", "stale_since", "claim_id"], "stale_since IS NOT NULL"),
    "claim_by_recheck": ("claim", ["state", "recheck_at"], "recheck_at IS NOT NULL"),
    "claim_asked_again": ("claim", ["asked_priority", "state"], "asked_priority IS NOT NULL"),
    "badge_by_key": ("badge", ["key_id", "claim_id"], "revoked_at IS NULL"),
    "badge_revoked": ("badge", ["revoked_at", "badge_id"], "revoked_at IS NOT NULL"),
    "webhook_delivery_waiting": ("webhook_delivery", ["webhook_id"], "due_at IS NOT NULL"),
    "webhook_delivery_settled": ("webhook_delivery", ["created_at"], "due_at IS NULL"),
}
"""Table, columns and condition, by name."""

WHOLE: dict[str, tuple[str, list[str]]] = {
    "claim_by_submitter": ("claim", ["submitter", "created_at", "claim_id"]),
    "badge_by_age": ("badge", ["signed_at", "claim_id"]),
    "model_by_look": ("model", ["looked_at"]),
    "thread_by_look": ("thread", ["looked_at"]),
}

NOT_YET = datetime(1970, 1, 1, tzinfo=UTC)
LOOKED_AT: sa.DateTime = sa.DateTime(timezone=True)
THREAD = sa.table("thread", sa.column("model_id"), sa.column("number", sa.Integer()), sa.column("looked_at", LOOKED_AT))
PUBLICATION = sa.table("publication", sa.column("claim_id"), sa.column("number", sa.Integer()))
CLAIM = sa.table(
    "claim",
    sa.column("claim_id"),
    sa.column("model_id"),
    sa.column("live", sa.Boolean()),
    sa.column("pull_request", sa.Integer()),
)


def upgrade() -> None:
    """Apply it."""
    op.create_table(
        "stale_walk",
        sa.Column("walk_id", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=20), nullable=False),
        sa.Column("subject_id", sa.String(length=200), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reached_id", sa.String(length=32), nullable=False),
        sa.Column("passes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("walk_id"),
    )
    op.create_index("stale_walk_by_subject", "stale_walk", ["subject", "subject_id"])
    op.create_index("stale_walk_by_age", "stale_walk", ["since"])
    for name, (table, columns, condition) in PARTIAL.items():
        op.create_index(name, table, columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))
    op.create_index(
        "claim_awaiting",
        "claim",
        ["state", "since"],
        sqlite_where=sa.text("awaits_approval = 1"),
        postgresql_where=sa.text("awaits_approval"),
    )
    for name, (table, columns) in WHOLE.items():
        op.create_index(name, table, columns)
    _enter_threads()


def downgrade() -> None:
    """Take it back."""
    for name, (table, _) in WHOLE.items():
        op.drop_index(name, table_name=table)
    op.drop_index("claim_awaiting", table_name="claim")
    for name, (table, _, _) in PARTIAL.items():
        op.drop_index(name, table_name=table)
    op.drop_table("stale_walk")
    # Threads that nobody has looked at yet were not rows before.
    op.execute(sa.delete(THREAD).where(THREAD.c.looked_at == NOT_YET))


def _enter_threads() -> None:
    """Threads that were not read yet are rows from now on: those that the farm wrote in, and that make claims."""
    for number, found in (
        (PUBLICATION.c.number, PUBLICATION.join(CLAIM, CLAIM.c.claim_id == PUBLICATION.c.claim_id)),
        (sa.case((CLAIM.c.live, CLAIM.c.pull_request)), CLAIM),
    ):
        known = sa.exists().where(THREAD.c.model_id == CLAIM.c.model_id, THREAD.c.number == number)
        rows = sa.select(CLAIM.c.model_id, number, sa.literal(NOT_YET, LOOKED_AT)).select_from(found)
        wanted = rows.where(number.is_not(None), ~known).distinct()
        op.execute(sa.insert(THREAD).from_select(["model_id", "number", "looked_at"], wanted))
