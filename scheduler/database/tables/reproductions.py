"""Reproductions and their attempts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from scheduler.database.tables.base import Table, new_id, now, partial_index
from scheduler.state_machine import ReproductionState
from specs.measurement import stored_answers, stored_seconds

if TYPE_CHECKING:
    from scheduler.database.tables.claims import Claim


class Reproduction(Table):
    """One run of one spec for one model at pinned revisions; judges every claim that points to it."""

    __tablename__ = "reproduction"
    __table_args__ = (
        # One open reproduction a key, so that claims share it even when two planners meet.
        partial_index("reproduction_key", "key", where="joinable", unique=True),
        partial_index("reproduction_complete", "key", where="complete"),
        partial_index("reproduction_asked_anew", "key", where="asked_anew"),
        Index("reproduction_by_task", "dataset_id", "dataset_revision", "task_id", "since"),
        Index("reproduction_by_weights", "weights_sha256", "dataset_id", "since"),
        Index("reproduction_by_model", "model_id", "created_at"),
        Index("reproduction_by_state", "state", "pool", "priority", "created_at"),
        Index("reproduction_by_batch", "batch_id"),
        partial_index(
            "reproduction_by_engine", "pool", "engine_key", "priority", "created_at", where="state = 'queued'"
        ),
        Index("reproduction_by_age", "created_at", "reproduction_id"),
        partial_index(
            "reproduction_by_cost", "dataset_id", "task_id", "pool", "since", where="engine_seconds IS NOT NULL"
        ),
    )

    reproduction_id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    key: Mapped[str] = mapped_column(String(64))
    """Digest of all that decides its result: weights, task, spec, settings."""

    joinable: Mapped[bool] = mapped_column(default=True)
    """Whether further claims may be added to those that it answers. False once it failed or was cancelled, and once a
    run that may stop early was sent out: scheduler/judging/stopping.py."""

    set_aside: Mapped[bool] = mapped_column(default=False)
    """It is queued, cannot be sent out as it is, and waits for the operator: scheduler/dispatch/setting_aside.py."""

    complete: Mapped[bool] = mapped_column(default=False)
    """It ran every sample, so it answers any later claim too."""

    asked_anew: Mapped[bool] = mapped_column(default=False)
    """Planned for a re-verification. Earlier runs of its key answer no further claim, unless it fails, or is cancelled
    before it is sent out."""

    second_anew: Mapped[bool] = mapped_column(default=False)
    """Planned after the first of what counts as asked together, or within policy's cooldown of a run of the same model
    and task with other weights or another revision: it asks every sample, whatever becomes of that."""

    model_id: Mapped[str] = mapped_column(ForeignKey("model.model_id"))
    model_revision: Mapped[str] = mapped_column(String(64))
    weights_sha256: Mapped[str] = mapped_column(String(64))
    """Of the model's files at that revision, as in `Model`. What has the same one is the same model."""

    weights_bytes: Mapped[int] = mapped_column(BigInteger)
    dataset_id: Mapped[str] = mapped_column(String(200))
    dataset_revision: Mapped[str] = mapped_column(String(64))
    task_id: Mapped[str | None] = mapped_column(String(200))
    spec_sha256: Mapped[str] = mapped_column(String(64))
    spec_refusal: Mapped[str | None] = mapped_column(String(2000))
    """Why Inspect's own loader refuses the spec, of which this task is sound: no command of Inspect's repeats its run.
    None where it does not."""

    settings: Mapped[dict[str, Any]]
    """What the worker is told: the `RunSettings` of scheduler/admission/run_settings.py."""

    seed: Mapped[int | None]
    """None until it is first sent out."""

    stopping: Mapped[dict[str, Any] | None]
    """By what it stops by itself: a `Stopping`. None until it is sent, and where it runs all samples."""

    pool: Mapped[str] = mapped_column(String(50))
    priority: Mapped[int]
    """Lower goes first."""

    state: Mapped[ReproductionState] = mapped_column(String(20), default=ReproductionState.QUEUED)
    reason: Mapped[str] = mapped_column(String(8000), default="waits for a worker")
    since: Mapped[datetime] = mapped_column(default=now)
    waits_since: Mapped[datetime | None] = mapped_column(default=now)
    """Since when it waits for a worker, with the broker too: it was planned then, or ran last. None where a farm of an
    earlier version planned it."""

    created_at: Mapped[datetime] = mapped_column(default=now)
    not_before: Mapped[datetime | None]
    """Back-off after a failed attempt."""

    attempt: Mapped[int] = mapped_column(default=0)
    """Number of the current attempt; a message about another one is dropped."""

    failures: Mapped[int] = mapped_column(default=0)
    """Attempts that ended by our own fault. A message lost before any worker took it is not one."""

    engine_key: Mapped[str | None] = mapped_column(String(64))
    """What engine can serve it: specs/engine_key.py. None until it is looked at for dispatch, and whenever its settings
    change."""

    batch_id: Mapped[str | None] = mapped_column(String(32))
    sent_to: Mapped[str | None] = mapped_column(String(200))
    """The worker in whose own queue its batch was put; None is the pool's queue."""

    worker: Mapped[str | None] = mapped_column(String(200))
    """Who holds the lease."""

    lease_until: Mapped[datetime | None]
    """For a dispatched one: when to look whether its message is still in the queue."""

    measurement: Mapped[dict[str, Any] | None]
    """A `specs.measurement.Measurement`, once completed. It has every sample's score: what planning asks of many such
    stands in the next columns too, or each question would read megabytes."""

    population: Mapped[int | None]
    """Samples of its task."""

    answers: Mapped[int | None]
    """It had its engine give: every epoch of every sample that it asked."""

    engine_seconds: Mapped[float | None]
    """For which it had its engine to itself, or its share of longer. None where it went on from an earlier attempt: its
    times are those of the last part alone."""

    evidence_sha256: Mapped[str | None] = mapped_column(String(64))
    evidence_bytes: Mapped[int | None] = mapped_column(BigInteger)

    caused_by: Mapped[str | None] = mapped_column(String(32))
    """The claim for which it was planned, or by which it came to ask every sample: its cost is counted for that one,
    and others that join it cost nothing."""

    submitter: Mapped[str | None] = mapped_column(String(100))
    """Who made that claim."""

    community: Mapped[bool] = mapped_column(default=False)
    """Whether that claim is on a pull request."""

    gpu_seconds: Mapped[float | None]
    """What it counts as in the budget of the day on which it was planned: its estimate, and once it has ended, what it
    took. None counts nothing."""

    claims: Mapped[list[Claim]] = relationship(back_populates="reproduction")
    attempts: Mapped[list[Attempt]] = relationship(back_populates="reproduction", order_by="Attempt.number")

    @validates("settings", "model_id", "model_revision")
    def _needs_another_engine(self, _name: str, value: object) -> object:
        self.engine_key = None
        return value

    @validates("measurement")
    def _measured(self, _name: str, found: dict[str, Any] | None) -> dict[str, Any] | None:
        self.population = found["population"] if found is not None else None
        self.answers = stored_answers(found) if found is not None else None
        is_whole = found is not None and not found.get("resumed")
        self.engine_seconds = stored_seconds(found) if found is not None and is_whole else None
        return found


class Attempt(Table):
    """One try at a reproduction by one worker."""

    __tablename__ = "attempt"
    __table_args__ = (Index("attempt_by_end", "ended_at"),)

    reproduction_id: Mapped[str] = mapped_column(ForeignKey("reproduction.reproduction_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[str] = mapped_column(String(32))
    dispatched_at: Mapped[datetime] = mapped_column(default=now)
    worker: Mapped[str | None] = mapped_column(String(200))
    started_at: Mapped[datetime | None]
    """First word from a worker."""

    begun_at: Mapped[datetime | None]
    """First word that it does more than wait behind others of its batch."""

    alive_at: Mapped[datetime | None]
    """Last word from it."""

    stage: Mapped[str | None] = mapped_column(String(30))
    samples_done: Mapped[int] = mapped_column(default=0)
    samples_total: Mapped[int | None]
    score: Mapped[float | None]
    """Mean so far, as a proportion; None before the first score."""

    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(30))
    """A `specs.messages.AttemptOutcome`; None while it goes on."""

    detail: Mapped[str | None] = mapped_column(String(8000))
    """What happened; while it goes on, the engine's last lines."""

    partial_sha256: Mapped[str | None] = mapped_column(String(64))
    """Of the log that was kept of it when it was handed back half way; None where none was."""

    partial_bytes: Mapped[int | None] = mapped_column(BigInteger)
    partial_answers: Mapped[int | None]
    """Finished in that log, as the worker said."""

    report: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    """What its worker reported, where that takes long to check or waits for its evidence: a `specs.messages.Report`.
    None once it has ended."""

    report_checks: Mapped[int] = mapped_column(default=0)
    """How often that was begun to be checked; none while it waits for its evidence."""

    reproduction: Mapped[Reproduction] = relationship(back_populates="attempts")
