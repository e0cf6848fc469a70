"""Claims: what models say of themselves."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from scheduler.database.tables.base import Table, new_id, now, partial_index
from scheduler.state_machine import ClaimState

if TYPE_CHECKING:
    from scheduler.database.tables.reproductions import Reproduction
    from scheduler.database.tables.verdicts import VerdictRow


class Claim(Table):
    """One entry of a result file: a model says it scored a value on a task."""

    __tablename__ = "claim"
    __table_args__ = (
        # One living claim a slot; the slot's history is its withdrawn claims.
        partial_index("claim_slot", "slot", where="live", unique=True),
        Index("claim_by_state", "state", "since", "claim_id"),
        Index("claim_by_change", "since", "claim_id"),
        Index("claim_by_model", "model_id", "created_at", "claim_id"),
        Index("claim_by_dataset", "dataset_id", "created_at", "claim_id"),
        Index("claim_by_task", "task_id", "created_at", "claim_id"),
        # With the state, or SQLite looks for a reproduction's planned claims among all planned ones.
        Index("claim_by_reproduction", "reproduction_id", "state"),
        Index("claim_by_age", "created_at", "claim_id"),
        Index("claim_by_run_key", "run_key"),
        Index("claim_by_slot", "slot", "created_at"),
        Index("claim_by_submitter", "submitter", "created_at", "claim_id"),
        partial_index("claim_by_staleness", "state", "stale_since", "claim_id", where="stale_since IS NOT NULL"),
        partial_index("claim_by_asking", "fresh_after", where="fresh_after IS NOT NULL"),
        partial_index("claim_by_recheck", "state", "recheck_at", where="recheck_at IS NOT NULL"),
        partial_index("claim_asked_again", "asked_priority", "state", where="asked_priority IS NOT NULL"),
        Index(
            "claim_awaiting",
            "state",
            "since",
            # As SQLAlchemy asks for it on each.
            sqlite_where=text("awaits_approval = 1"),
            postgresql_where=text("awaits_approval"),
        ),
    )

    claim_id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    slot: Mapped[str] = mapped_column(String(64))
    """What makes a claim the same one when it is seen again: digest of model, ref, file, dataset, task and notes."""

    live: Mapped[bool] = mapped_column(default=True)
    """False once it is withdrawn."""

    model_id: Mapped[str] = mapped_column(ForeignKey("model.model_id"))
    ref: Mapped[str] = mapped_column(String(100))
    """`main`, or `refs/pr/N` for a community claim."""

    pull_request: Mapped[int | None]
    path: Mapped[str] = mapped_column(String(500))
    entry: Mapped[int]
    """Position in the file, from 0."""

    commit: Mapped[str] = mapped_column(String(64))
    """Of the model repo, where the entry was last read."""

    submitter: Mapped[str | None] = mapped_column(String(100))
    dataset_id: Mapped[str | None] = mapped_column(String(200))
    """None, like all that follows, where the entry could not be read."""

    dataset_revision: Mapped[str | None] = mapped_column(String(200))
    """As the claim pins it; None means whatever the benchmark is now."""

    task_id: Mapped[str | None] = mapped_column(String(200))
    value: Mapped[float | None]
    """As written, in the benchmark's scale."""

    notes: Mapped[str | None] = mapped_column(String(2000))
    source_url: Mapped[str | None] = mapped_column(String(2048))
    warnings: Mapped[list[Any]] = mapped_column(default=list)

    state: Mapped[ClaimState] = mapped_column(String(20), default=ClaimState.SUBMITTED)
    reason: Mapped[str] = mapped_column(String(8000), default="found on the Hub")
    """Why it is in this state, and whose move it is."""

    since: Mapped[datetime] = mapped_column(default=now)
    """When it came into this state."""

    recheck_at: Mapped[datetime | None]
    """When a blocked claim is planned again, in case what blocked it is gone."""

    created_at: Mapped[datetime] = mapped_column(default=now)
    rules: Mapped[dict[str, Any] | None]
    """How it will be judged, fixed before the run: the `JudgingRules` of scheduler/admission/judging_rules.py."""

    foreseen: Mapped[dict[str, Any] | None]
    """What a forecast of its cost needs: a `specs.judging.forecast.Foreseen`. None until it was looked at for planning,
    and where it will never be judged."""

    linked_log: Mapped[dict[str, Any] | None]
    """What became of the Inspect log that it links to: a `LinkedLogReading` of specs/logs/linked_log.py. None where it
    links to none, or policy reads none."""

    log_readings: Mapped[int] = mapped_column(default=0)
    """How often that log was begun to be read since it last was to its end."""

    gpu_seconds: Mapped[float | None]
    """What a reproduction for it alone was taken to cost when last planned: specs/policy/cost.py. None before."""

    gpu_seconds_basis: Mapped[str | None] = mapped_column(String(500))
    """What that rests on, in words."""

    run_key: Mapped[str | None] = mapped_column(String(64))
    """Key of the reproduction that it would have, while a budget holds it back, or where a judge or a repo refused the
    last one: one that is planned may answer it."""

    awaits_approval: Mapped[bool] = mapped_column(default=False)
    """Blocked until an operator approves it."""

    approved_gpu_seconds: Mapped[float | None]
    """The estimate that an operator approved; None where nobody did."""

    approved_over_budget: Mapped[bool] = mapped_column(default=False)
    """The approval holds for the limits of a day too."""

    asked_priority: Mapped[int | None]
    """Of a re-verification (scheduler/admission/facts.py); None is by who submitted it."""

    fresh_after: Mapped[datetime | None]
    """No reproduction that was sent out before answers it: when its re-verification was asked for. None takes any."""

    supersedes: Mapped[str | None] = mapped_column(String(32))
    """The claim that was the same entry before it was tried or verified again."""

    superseded_by: Mapped[str | None] = mapped_column(String(32))
    """The other way round."""

    stale_since: Mapped[datetime | None]
    """When its verdict was found not to describe what the Hub holds now, or to be too old. None while it does."""

    stale_reason: Mapped[str | None] = mapped_column(String(1000))
    """In what, where it does not: scheduler/watch/staleness.py."""

    reproduction_id: Mapped[str | None] = mapped_column(ForeignKey("reproduction.reproduction_id"))

    reproduction: Mapped[Reproduction | None] = relationship(back_populates="claims")
    verdict: Mapped[VerdictRow | None] = relationship(back_populates="claim")
