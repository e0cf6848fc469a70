"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    op.create_table(
        "benchmark",
        sa.Column("dataset_id", sa.String(length=200), nullable=False),
        sa.Column("revision", sa.String(length=64), nullable=True),
        sa.Column("gated", sa.Boolean(), nullable=False),
        sa.Column("leaderboard_etag", sa.String(length=200), nullable=True),
        sa.Column("leaderboard", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("has_percent", sa.Boolean(), nullable=False),
        sa.Column("sizes", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("dataset_id"),
    )
    op.create_table(
        "event",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(length=20), nullable=False),
        sa.Column("subject_id", sa.String(length=200), nullable=False),
        sa.Column("what", sa.String(length=50), nullable=False),
        sa.Column("why", sa.String(length=8000), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index("event_by_subject", ["subject", "subject_id"], unique=False)

    op.create_table(
        "marker",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "model",
        sa.Column("model_id", sa.String(length=200), nullable=False),
        sa.Column("revision", sa.String(length=64), nullable=True),
        sa.Column("weights_sha256", sa.String(length=64), nullable=True),
        sa.Column("weights_bytes", sa.BigInteger(), nullable=True),
        sa.Column("gated", sa.Boolean(), nullable=False),
        sa.Column("heads", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("model_id"),
    )
    op.create_table(
        "outbox",
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("queue", sa.String(length=60), nullable=False),
        sa.Column("task", sa.String(length=60), nullable=False),
        sa.Column("body", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("message_id"),
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index("outbox_unsent", ["created_at"], unique=False, sqlite_where=sa.text("sent_at IS NULL"))

    op.create_table(
        "spec_file",
        sa.Column("dataset_id", sa.String(length=200), nullable=False),
        sa.Column("revision", sa.String(length=64), nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("dataset_id", "revision"),
    )
    op.create_table(
        "reproduction",
        sa.Column("reproduction_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("joinable", sa.Boolean(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("model_id", sa.String(length=200), nullable=False),
        sa.Column("model_revision", sa.String(length=64), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("weights_bytes", sa.BigInteger(), nullable=False),
        sa.Column("dataset_id", sa.String(length=200), nullable=False),
        sa.Column("dataset_revision", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.String(length=200), nullable=True),
        sa.Column("spec_sha256", sa.String(length=64), nullable=False),
        sa.Column("settings", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=True),
        sa.Column("stopping", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("pool", sa.String(length=50), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=8000), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.String(length=32), nullable=True),
        sa.Column("worker", sa.String(length=200), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("measurement", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("evidence_sha256", sa.String(length=64), nullable=True),
        sa.Column("evidence_bytes", sa.BigInteger(), nullable=True),
        sa.Column("caused_by", sa.String(length=32), nullable=True),
        sa.Column("submitter", sa.String(length=100), nullable=True),
        sa.Column("community", sa.Boolean(), nullable=False),
        sa.Column("gpu_seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["model.model_id"],
        ),
        sa.PrimaryKeyConstraint("reproduction_id"),
    )
    with op.batch_alter_table("reproduction", schema=None) as batch_op:
        batch_op.create_index("reproduction_by_age", ["created_at", "reproduction_id"], unique=False)
        batch_op.create_index("reproduction_by_batch", ["batch_id"], unique=False)
        batch_op.create_index("reproduction_by_state", ["state", "pool", "priority", "created_at"], unique=False)
        batch_op.create_index(
            "reproduction_by_task", ["dataset_id", "dataset_revision", "task_id", "since"], unique=False
        )
        batch_op.create_index("reproduction_by_weights", ["weights_sha256", "dataset_id", "since"], unique=False)
        batch_op.create_index(
            "reproduction_complete",
            ["key"],
            unique=False,
            sqlite_where=sa.text("complete"),
            postgresql_where=sa.text("complete"),
        )
        batch_op.create_index(
            "reproduction_key",
            ["key"],
            unique=True,
            sqlite_where=sa.text("joinable"),
            postgresql_where=sa.text("joinable"),
        )

    op.create_table(
        "result_file",
        sa.Column("model_id", sa.String(length=200), nullable=False),
        sa.Column("ref", sa.String(length=100), nullable=False),
        sa.Column("path", sa.String(length=500), nullable=False),
        sa.Column("blob_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["model.model_id"],
        ),
        sa.PrimaryKeyConstraint("model_id", "ref", "path"),
    )
    op.create_table(
        "attempt",
        sa.Column("reproduction_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.String(length=32), nullable=False),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("worker", sa.String(length=200), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("alive_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stage", sa.String(length=30), nullable=True),
        sa.Column("samples_done", sa.Integer(), nullable=False),
        sa.Column("samples_total", sa.Integer(), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(length=30), nullable=True),
        sa.Column("detail", sa.String(length=8000), nullable=True),
        sa.ForeignKeyConstraint(
            ["reproduction_id"],
            ["reproduction.reproduction_id"],
        ),
        sa.PrimaryKeyConstraint("reproduction_id", "number"),
    )
    op.create_table(
        "claim",
        sa.Column("claim_id", sa.String(length=32), nullable=False),
        sa.Column("slot", sa.String(length=64), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("model_id", sa.String(length=200), nullable=False),
        sa.Column("ref", sa.String(length=100), nullable=False),
        sa.Column("pull_request", sa.Integer(), nullable=True),
        sa.Column("path", sa.String(length=500), nullable=False),
        sa.Column("entry", sa.Integer(), nullable=False),
        sa.Column("commit", sa.String(length=64), nullable=False),
        sa.Column("submitter", sa.String(length=100), nullable=True),
        sa.Column("dataset_id", sa.String(length=200), nullable=True),
        sa.Column("dataset_revision", sa.String(length=200), nullable=True),
        sa.Column("task_id", sa.String(length=200), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("notes", sa.String(length=2000), nullable=True),
        sa.Column("source_url", sa.String(length=2048), nullable=True),
        sa.Column("warnings", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=8000), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recheck_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rules", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("foreseen", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("linked_log", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("gpu_seconds", sa.Double(), nullable=True),
        sa.Column("gpu_seconds_basis", sa.String(length=500), nullable=True),
        sa.Column("run_key", sa.String(length=64), nullable=True),
        sa.Column("awaits_approval", sa.Boolean(), nullable=False),
        sa.Column("approved_gpu_seconds", sa.Double(), nullable=True),
        sa.Column("approved_over_budget", sa.Boolean(), nullable=False),
        sa.Column("reproduction_id", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["model.model_id"],
        ),
        sa.ForeignKeyConstraint(
            ["reproduction_id"],
            ["reproduction.reproduction_id"],
        ),
        sa.PrimaryKeyConstraint("claim_id"),
    )
    with op.batch_alter_table("claim", schema=None) as batch_op:
        batch_op.create_index("claim_by_age", ["created_at", "claim_id"], unique=False)
        batch_op.create_index("claim_by_dataset", ["dataset_id"], unique=False)
        batch_op.create_index("claim_by_model", ["model_id"], unique=False)
        batch_op.create_index("claim_by_reproduction", ["reproduction_id"], unique=False)
        batch_op.create_index("claim_by_run_key", ["run_key"], unique=False)
        batch_op.create_index("claim_by_state", ["state"], unique=False)
        batch_op.create_index(
            "claim_slot", ["slot"], unique=True, sqlite_where=sa.text("live"), postgresql_where=sa.text("live")
        )

    op.create_table(
        "noise",
        sa.Column("reproduction_id", sa.String(length=32), nullable=False),
        sa.Column("earlier_id", sa.String(length=32), nullable=False),
        sa.Column("dataset_id", sa.String(length=200), nullable=False),
        sa.Column("dataset_revision", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.String(length=200), nullable=True),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("settings_sha256", sa.String(length=64), nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("model_class", sa.String(length=20), nullable=False),
        sa.Column("pool", sa.String(length=50), nullable=False),
        sa.Column("engine", sa.String(length=100), nullable=False),
        sa.Column("earlier_engine", sa.String(length=100), nullable=False),
        sa.Column("hardware", sa.String(length=500), nullable=False),
        sa.Column("earlier_hardware", sa.String(length=500), nullable=False),
        sa.Column("population", sa.Integer(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("mean_difference", sa.Double(), nullable=False),
        sa.Column("mean_square", sa.Double(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["earlier_id"],
            ["reproduction.reproduction_id"],
        ),
        sa.ForeignKeyConstraint(
            ["reproduction_id"],
            ["reproduction.reproduction_id"],
        ),
        sa.PrimaryKeyConstraint("reproduction_id", "earlier_id"),
    )
    with op.batch_alter_table("noise", schema=None) as batch_op:
        batch_op.create_index("noise_by_task", ["dataset_id", "task_id", "recorded_at"], unique=False)

    op.create_table(
        "verdict",
        sa.Column("claim_id", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("verdict", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("reproduction_id", sa.String(length=32), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["claim_id"],
            ["claim.claim_id"],
        ),
        sa.ForeignKeyConstraint(
            ["reproduction_id"],
            ["reproduction.reproduction_id"],
        ),
        sa.PrimaryKeyConstraint("claim_id"),
    )
    with op.batch_alter_table("verdict", schema=None) as batch_op:
        batch_op.create_index("verdict_by_age", ["decided_at", "claim_id"], unique=False)
        batch_op.create_index("verdict_by_outcome", ["outcome", "decided_at", "claim_id"], unique=False)

    op.create_table(
        "badge",
        sa.Column("claim_id", sa.String(length=32), nullable=False),
        sa.Column("badge_id", sa.String(length=32), nullable=False),
        sa.Column("token", sa.String(length=16384), nullable=False),
        sa.Column("key_id", sa.String(length=100), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_reason", sa.String(length=1000), nullable=True),
        sa.ForeignKeyConstraint(
            ["claim_id"],
            ["verdict.claim_id"],
        ),
        sa.PrimaryKeyConstraint("claim_id"),
        sa.UniqueConstraint("badge_id"),
    )
    op.create_table(
        "publication",
        sa.Column("claim_id", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=1000), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("url", sa.String(length=500), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["claim_id"],
            ["verdict.claim_id"],
        ),
        sa.PrimaryKeyConstraint("claim_id"),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("publication")
    op.drop_table("badge")
    with op.batch_alter_table("verdict", schema=None) as batch_op:
        batch_op.drop_index("verdict_by_outcome")
        batch_op.drop_index("verdict_by_age")

    op.drop_table("verdict")
    with op.batch_alter_table("noise", schema=None) as batch_op:
        batch_op.drop_index("noise_by_task")

    op.drop_table("noise")
    with op.batch_alter_table("claim", schema=None) as batch_op:
        batch_op.drop_index("claim_slot", sqlite_where=sa.text("live"), postgresql_where=sa.text("live"))
        batch_op.drop_index("claim_by_state")
        batch_op.drop_index("claim_by_run_key")
        batch_op.drop_index("claim_by_reproduction")
        batch_op.drop_index("claim_by_model")
        batch_op.drop_index("claim_by_dataset")
        batch_op.drop_index("claim_by_age")

    op.drop_table("claim")
    op.drop_table("attempt")
    op.drop_table("result_file")
    with op.batch_alter_table("reproduction", schema=None) as batch_op:
        batch_op.drop_index("reproduction_key", sqlite_where=sa.text("joinable"), postgresql_where=sa.text("joinable"))
        batch_op.drop_index(
            "reproduction_complete", sqlite_where=sa.text("complete"), postgresql_where=sa.text("complete")
        )
        batch_op.drop_index("reproduction_by_weights")
        batch_op.drop_index("reproduction_by_task")
        batch_op.drop_index("reproduction_by_state")
        batch_op.drop_index("reproduction_by_batch")
        batch_op.drop_index("reproduction_by_age")

    op.drop_table("reproduction")
    op.drop_table("spec_file")
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.drop_index("outbox_unsent", sqlite_where=sa.text("sent_at IS NULL"))

    op.drop_table("outbox")
    op.drop_table("model")
    op.drop_table("marker")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index("event_by_subject")

    op.drop_table("event")
    op.drop_table("benchmark")
