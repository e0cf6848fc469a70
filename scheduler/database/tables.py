"""What the farm knows, as tables. They never leave the control plane.

benchmark ─ spec                what the Hub says canonically
model ─ result_file ─ claim     what models say of themselves
claim ─▶ reproduction ─ attempt what the farm runs, and its tries
claim ─ verdict ─ badge ─ publication
reproduction ─ noise            how honest re-runs differ
worker                          who runs, as it says of itself
event, outbox, marker           the record, the messages to send, and what must happen only once at a time
webhook ─ webhook_delivery      who else is told, and what became of it
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, validates

from scheduler.machine import ClaimState, ReproductionState


def new_id() -> str:
    """An id nobody can guess or collide with."""
    return uuid.uuid4().hex


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite keeps no zone, and PostgreSQL gives times in that of the session."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse a time without a zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Say that it is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(DeclarativeBase):
    """The base of all tables."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: UtcDateTime,
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
        bytes: LargeBinary,
    }


def _where(name: str, *columns: str, where: str) -> Index:
    """An index of those rows alone that fit a condition: it stays small, however many others there are."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


class Benchmark(Table):
    """A benchmark that is watched, as it was last seen."""

    __tablename__ = "benchmark"

    dataset_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    revision: Mapped[str | None] = mapped_column(String(64))
    gated: Mapped[bool] = mapped_column(default=False)
    leaderboard_etag: Mapped[str | None] = mapped_column(String(200))
    leaderboard: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Digest of each leaderboard row, by model, pull request and file: tells what changed."""

    has_percent: Mapped[bool] = mapped_column(default=False)
    """A value above 1 stands on the leaderboard, so the benchmark is scored in percent."""

    sizes: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Number of samples by config and split, as the dataset's card says at `revision`: specs/dataset_card.py."""

    seen_at: Mapped[datetime] = mapped_column(default=now)


class SpecFile(Table):
    """An eval.yaml at one dataset commit."""

    __tablename__ = "spec_file"

    dataset_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    revision: Mapped[str] = mapped_column(String(64), primary_key=True)
    text: Mapped[bytes | None]
    """None where the dataset has no eval.yaml at that commit."""

    content_sha256: Mapped[str | None] = mapped_column(String(64))
    """Of the names and contents of all the dataset's files but documentation: two commits with the same one hold the
    same samples. None where it was not looked at, or there are too many files."""


class Model(Table):
    """A model repo, as it was last seen."""

    __tablename__ = "model"
    __table_args__ = (Index("model_by_look", "looked_at"),)

    model_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    revision: Mapped[str | None] = mapped_column(String(64))
    weights_sha256: Mapped[str | None] = mapped_column(String(64))
    """Of the names and contents of all files but results and documentation: what a reproduction depends on."""

    weights_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Of the safetensors files that an engine loads; None where there are none."""

    size: Mapped[dict[str, Any] | None]
    """What it needs of memory: a `specs.model_size.ModelSize`. None where there are no weights, or nobody has looked
    since the farm keeps it."""

    gated: Mapped[bool] = mapped_column(default=False)
    heads: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Commit of each open pull request that was looked at, by its ref."""

    looked_at: Mapped[datetime | None]


class ResultFile(Table):
    """A file of `.eval_results/` on main or on an open pull request, as it was last read."""

    __tablename__ = "result_file"

    model_id: Mapped[str] = mapped_column(ForeignKey("model.model_id"), primary_key=True)
    ref: Mapped[str] = mapped_column(String(100), primary_key=True)
    path: Mapped[str] = mapped_column(String(500), primary_key=True)
    blob_id: Mapped[str] = mapped_column(String(64))


class Claim(Table):
    """One entry of a result file: a model says it scored a value on a task."""

    __tablename__ = "claim"
    __table_args__ = (
        # One living claim a slot; the slot's history is its withdrawn claims.
        Index("claim_slot", "slot", unique=True, sqlite_where=text("live"), postgresql_where=text("live")),
        Index("claim_by_state", "state", "since", "claim_id"),
        Index("claim_by_change", "since", "claim_id"),
        Index("claim_by_model", "model_id", "created_at", "claim_id"),
        Index("claim_by_dataset", "dataset_id", "created_at", "claim_id"),
        # With the state, or SQLite looks for a reproduction's planned claims among all planned ones.
        Index("claim_by_reproduction", "reproduction_id", "state"),
        Index("claim_by_age", "created_at", "claim_id"),
        Index("claim_by_run_key", "run_key"),
        Index("claim_by_slot", "slot", "created_at"),
        Index("claim_by_submitter", "submitter", "created_at", "claim_id"),
        _where("claim_by_staleness", "state", "stale_since", "claim_id", where="stale_since IS NOT NULL"),
        _where("claim_by_recheck", "state", "recheck_at", where="recheck_at IS NOT NULL"),
        _where("claim_asked_again", "asked_priority", "state", where="asked_priority IS NOT NULL"),
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
    """How it will be judged, fixed before the run: a `Rules` of scheduler/admission.py."""

    foreseen: Mapped[dict[str, Any] | None]
    """What a forecast of its cost needs: a `specs.forecast.Foreseen`. None until it was looked at for planning, and
    where it will never be judged."""

    linked_log: Mapped[dict[str, Any] | None]
    """What became of the Inspect log that it links to: a `LinkedLogReading` of specs/linked_log.py. None where it
    links to none, or policy reads none."""

    gpu_seconds: Mapped[float | None]
    """What a reproduction for it alone was taken to cost when it was last planned: specs/cost.py. None before."""

    gpu_seconds_basis: Mapped[str | None] = mapped_column(String(500))
    """What that rests on, in words."""

    run_key: Mapped[str | None] = mapped_column(String(64))
    """Key of the reproduction that it would have, while a budget holds it back: one that is planned may answer it."""

    awaits_approval: Mapped[bool] = mapped_column(default=False)
    """Blocked until an operator approves it."""

    approved_gpu_seconds: Mapped[float | None]
    """The estimate that an operator approved; None where nobody did."""

    approved_over_budget: Mapped[bool] = mapped_column(default=False)
    """The approval holds for the limits of a day too."""

    asked_priority: Mapped[int | None]
    """Of a re-verification (scheduler/admission.py); None is by who submitted it."""

    fresh_after: Mapped[datetime | None]
    """No reproduction that was sent out before answers it: when its re-verification was asked for. None takes any."""

    supersedes: Mapped[str | None] = mapped_column(String(32))
    """The claim that was the same entry before it was tried or verified again."""

    superseded_by: Mapped[str | None] = mapped_column(String(32))
    """The other way round."""

    stale_since: Mapped[datetime | None]
    """When its verdict was found not to describe what the Hub holds now, or to be too old. None while it does."""

    stale_reason: Mapped[str | None] = mapped_column(String(1000))
    """In what, where it does not: scheduler/staleness.py."""

    reproduction_id: Mapped[str | None] = mapped_column(ForeignKey("reproduction.reproduction_id"))

    reproduction: Mapped[Reproduction | None] = relationship(back_populates="claims")
    verdict: Mapped[VerdictRow | None] = relationship(back_populates="claim")


class Reproduction(Table):
    """One run of one spec for one model at pinned revisions; judges every claim that points to it."""

    __tablename__ = "reproduction"
    __table_args__ = (
        # One open reproduction a key, so that claims share it even when two planners meet.
        Index("reproduction_key", "key", unique=True, sqlite_where=text("joinable"), postgresql_where=text("joinable")),
        Index("reproduction_complete", "key", sqlite_where=text("complete"), postgresql_where=text("complete")),
        Index("reproduction_asked_anew", "key", sqlite_where=text("asked_anew"), postgresql_where=text("asked_anew")),
        Index("reproduction_by_task", "dataset_id", "dataset_revision", "task_id", "since"),
        Index("reproduction_by_weights", "weights_sha256", "dataset_id", "since"),
        Index("reproduction_by_state", "state", "pool", "priority", "created_at"),
        Index("reproduction_by_batch", "batch_id"),
        Index(
            "reproduction_by_engine",
            "pool",
            "engine_key",
            "priority",
            "created_at",
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
        Index("reproduction_by_age", "created_at", "reproduction_id"),
    )

    reproduction_id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    key: Mapped[str] = mapped_column(String(64))
    """Digest of all that decides its result: weights, task, spec, settings."""

    joinable: Mapped[bool] = mapped_column(default=True)
    """Whether further claims may be added to those that it answers. False once it failed or was cancelled, and once a
    run that may stop early was sent out: scheduler/stopping.py."""

    complete: Mapped[bool] = mapped_column(default=False)
    """It ran every sample, so it answers any later claim too."""

    asked_anew: Mapped[bool] = mapped_column(default=False)
    """Planned for a re-verification. Earlier runs of its key answer no further claim, unless it comes to nothing."""

    model_id: Mapped[str] = mapped_column(ForeignKey("model.model_id"))
    model_revision: Mapped[str] = mapped_column(String(64))
    weights_sha256: Mapped[str] = mapped_column(String(64))
    """Of the model's files at that revision, as in `Model`. What has the same one is the same model."""

    weights_bytes: Mapped[int] = mapped_column(BigInteger)
    dataset_id: Mapped[str] = mapped_column(String(200))
    dataset_revision: Mapped[str] = mapped_column(String(64))
    task_id: Mapped[str | None] = mapped_column(String(200))
    spec_sha256: Mapped[str] = mapped_column(String(64))
    settings: Mapped[dict[str, Any]]
    """What the worker is told: a `RunSettings` of scheduler/admission.py."""

    seed: Mapped[int | None]
    """None until it is first sent out."""

    stopping: Mapped[dict[str, Any] | None]
    """By what it stops by itself: a `specs.stopping.Stopping`. None until it is sent, and where it runs all samples."""

    pool: Mapped[str] = mapped_column(String(50))
    priority: Mapped[int]
    """Lower goes first."""

    state: Mapped[ReproductionState] = mapped_column(String(20), default=ReproductionState.QUEUED)
    reason: Mapped[str] = mapped_column(String(8000), default="waits for a worker")
    since: Mapped[datetime] = mapped_column(default=now)
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
    """A `specs.measurement.Measurement`, once completed."""

    evidence_sha256: Mapped[str | None] = mapped_column(String(64))
    evidence_bytes: Mapped[int | None] = mapped_column(BigInteger)

    caused_by: Mapped[str | None] = mapped_column(String(32))
    """The claim for which it was planned, and which its cost is counted for; those that join it cost nothing."""

    submitter: Mapped[str | None] = mapped_column(String(100))
    """Who made that claim."""

    community: Mapped[bool] = mapped_column(default=False)
    """Whether that claim is on a pull request."""

    gpu_seconds: Mapped[float | None]
    """What it counts as in the budget of the day on which it was planned: its estimate, and what it took once it is
    complete. None counts nothing."""

    claims: Mapped[list[Claim]] = relationship(back_populates="reproduction")
    attempts: Mapped[list[Attempt]] = relationship(back_populates="reproduction", order_by="Attempt.number")

    @validates("settings", "model_id", "model_revision")
    def _needs_another_engine(self, _name: str, value: object) -> object:
        self.engine_key = None
        return value


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

    reproduction: Mapped[Reproduction] = relationship(back_populates="attempts")


class NoisePair(Table):
    """Two completed reproductions of the same weights and samples under the same settings, and how they differ."""

    __tablename__ = "noise"
    __table_args__ = (Index("noise_by_task", "dataset_id", "task_id", "recorded_at"),)

    reproduction_id: Mapped[str] = mapped_column(ForeignKey("reproduction.reproduction_id"), primary_key=True)
    """The later of the two."""

    earlier_id: Mapped[str] = mapped_column(ForeignKey("reproduction.reproduction_id"), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(String(200))
    dataset_revision: Mapped[str] = mapped_column(String(64))
    task_id: Mapped[str | None] = mapped_column(String(200))
    weights_sha256: Mapped[str] = mapped_column(String(64))
    settings_sha256: Mapped[str] = mapped_column(String(64))
    """Digest of the settings that both have in common: `scheduler.noise.settings_sha256`."""

    epochs: Mapped[int]
    model_class: Mapped[str] = mapped_column(String(20))
    """A bucket by size: `specs.noise.model_class`."""

    pool: Mapped[str] = mapped_column(String(50))
    """Of the later run; its engine and hardware are what that pool was last seen to have."""

    engine: Mapped[str] = mapped_column(String(100))
    """Version of vLLM in the later run."""

    earlier_engine: Mapped[str] = mapped_column(String(100))
    hardware: Mapped[str] = mapped_column(String(500))
    earlier_hardware: Mapped[str] = mapped_column(String(500))
    population: Mapped[int]
    """Samples that the task has."""

    samples: Mapped[int]
    """Scored in both runs."""

    mean_difference: Mapped[float]
    """Of the later score less the earlier; proportions."""

    mean_square: Mapped[float]
    recorded_at: Mapped[datetime] = mapped_column(default=now)


class VerdictRow(Table):
    """The verdict on a claim."""

    __tablename__ = "verdict"
    __table_args__ = (
        Index("verdict_by_outcome", "outcome", "decided_at", "claim_id"),
        Index("verdict_by_age", "decided_at", "claim_id"),
    )

    claim_id: Mapped[str] = mapped_column(ForeignKey("claim.claim_id"), primary_key=True)
    """The primary key: a claim has one verdict at most."""

    outcome: Mapped[str] = mapped_column(String(20))
    verdict: Mapped[dict[str, Any]]
    """A `specs.verdict.Verdict`."""

    reproduction_id: Mapped[str | None] = mapped_column(ForeignKey("reproduction.reproduction_id"))
    decided_at: Mapped[datetime] = mapped_column(default=now)

    claim: Mapped[Claim] = relationship(back_populates="verdict")
    badge: Mapped[Badge | None] = relationship(back_populates="verdict")


class Badge(Table):
    """A signed statement of a `verified` verdict."""

    __tablename__ = "badge"
    __table_args__ = (
        Index("badge_by_age", "signed_at", "claim_id"),
        _where("badge_by_key", "key_id", "claim_id", where="revoked_at IS NULL"),
        _where("badge_revoked", "revoked_at", "badge_id", where="revoked_at IS NOT NULL"),
    )

    claim_id: Mapped[str] = mapped_column(ForeignKey("verdict.claim_id"), primary_key=True)
    """The primary key: a verdict has one badge at most."""

    badge_id: Mapped[str] = mapped_column(String(32), unique=True)
    """The token's `jti`."""

    token: Mapped[str] = mapped_column(String(16_384))
    """The exact signed text; served as it is."""

    key_id: Mapped[str] = mapped_column(String(100))
    signed_at: Mapped[datetime] = mapped_column(default=now)
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None] = mapped_column(String(1000))

    verdict: Mapped[VerdictRow] = relationship(back_populates="badge")


class RevokedKey(Table):
    """A signing key that is not to be believed any more, by its id: no key is ever in the database."""

    __tablename__ = "revoked_key"

    key_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    revoked_at: Mapped[datetime] = mapped_column(default=now)
    revoked_reason: Mapped[str] = mapped_column(String(1000))
    actor: Mapped[str] = mapped_column(String(200))


class Publication(Table):
    """What the farm has written, or is to write, on the Hub about a verdict."""

    __tablename__ = "publication"
    __table_args__ = (Index("publication_by_state", "state", "due_at"),)

    claim_id: Mapped[str] = mapped_column(ForeignKey("verdict.claim_id"), primary_key=True)
    state: Mapped[str] = mapped_column(String(20), default="pending")
    """`pending`, `published` or `withdrawn` (the claim was gone or changed when it came to writing)."""

    reason: Mapped[str] = mapped_column(String(1000), default="")
    number: Mapped[int | None]
    """Of the pull request or discussion."""

    url: Mapped[str | None] = mapped_column(String(500))
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime | None] = mapped_column(default=now)
    """When to try next; None where nothing is left to do."""


class Event(Table):
    """Who did what to which thing, when and why. Rows are only ever added."""

    __tablename__ = "event"
    __table_args__ = (Index("event_by_subject", "subject", "subject_id"),)

    # SQLite counts only an INTEGER primary key up by itself.
    event_id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    actor: Mapped[str] = mapped_column(String(200))
    """`scheduler`, `worker:NAME`, `hub:USER`, `operator:NAME`."""

    subject: Mapped[str] = mapped_column(String(20))
    """`claim`, `reproduction`, `benchmark`, `model`, `badge`, `key`, `worker`, `webhook`, `token` or `user`."""

    subject_id: Mapped[str] = mapped_column(String(200))
    what: Mapped[str] = mapped_column(String(50))
    """For a change of state, the new state."""

    why: Mapped[str] = mapped_column(String(8000))


class OutboxRow(Table):
    """A message that a transaction caused; sent after its commit, again until it was."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index(
            "outbox_unsent",
            "created_at",
            sqlite_where=text("sent_at IS NULL"),
            postgresql_where=text("sent_at IS NULL"),
        ),
    )

    message_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    """Also the Celery task's id."""

    queue: Mapped[str] = mapped_column(String(60))
    task: Mapped[str] = mapped_column(String(60))
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    sent_at: Mapped[datetime | None]


class Worker(Table):
    """A worker, as it last spoke of itself; or as it was found missing."""

    __tablename__ = "worker"
    __table_args__ = (Index("worker_by_pool", "pool", "state"), Index("worker_by_due", "due_at"))

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    pool: Mapped[str] = mapped_column(String(50))
    state: Mapped[str] = mapped_column(String(20))
    """A `specs.messages.WorkerState`, or `lost`."""

    reason: Mapped[str] = mapped_column(String(2000), default="")
    since: Mapped[datetime] = mapped_column(default=now)
    """When it came into this state."""

    seen_at: Mapped[datetime] = mapped_column(default=now)
    due_at: Mapped[datetime]
    """It is lost if it has said nothing by then."""

    hardware: Mapped[str] = mapped_column(String(500))
    memory: Mapped[list[Any]]
    """`specs.messages.DeviceMemory`s."""

    engine: Mapped[dict[str, Any] | None]
    """A `specs.messages.LoadedEngine`; None where it has none."""

    engine_key: Mapped[str | None] = mapped_column(String(64))
    """Of that engine: specs/engine_key.py. None too where its worker does not say."""

    asleep: Mapped[list[Any]] = mapped_column(default=list)
    """Keys of engines that it could wake within seconds."""

    passed_over_until: Mapped[datetime | None]
    """Nothing is sent to its own queue before: it had nothing to do and left lying there what was."""


class Thread(Table):
    """A discussion or pull request on the Hub in which somebody may ask for a re-verification."""

    __tablename__ = "thread"
    __table_args__ = (Index("thread_by_look", "looked_at"),)

    model_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    looked_at: Mapped[datetime] = mapped_column(default=now)
    """`scheduler.threads.NOT_YET` where nobody has."""


class HeardComment(Table):
    """A comment that asked for a re-verification: it counts once, whatever became of it."""

    __tablename__ = "heard_comment"
    __table_args__ = (Index("heard_comment_by_thread", "model_id", "number"),)

    comment_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    model_id: Mapped[str] = mapped_column(String(200))
    number: Mapped[int]
    author: Mapped[str] = mapped_column(String(100))
    heard_at: Mapped[datetime] = mapped_column(default=now)
    answer: Mapped[str | None] = mapped_column(String(4000))
    """What is to be said to it on the Hub; None where nothing is."""

    answered_at: Mapped[datetime | None]


class Webhook(Table):
    """Somebody outside who is told of events."""

    __tablename__ = "webhook"

    webhook_id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    url: Mapped[str] = mapped_column(String(2000))
    secret: Mapped[str] = mapped_column(String(100))
    """`whsec_…`: what each delivery is signed with. Kept as it is, because signing needs it."""

    filter: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Which events: a `WebhookFilter` of specs/api_v1_webhooks.py."""

    created_by: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=now)
    enabled: Mapped[bool] = mapped_column(default=True)
    """False once it is removed; its log stays."""

    last_event_id: Mapped[int] = mapped_column(BigInteger, default=0)
    """Events up to this one were looked at for it."""


class WebhookDelivery(Table):
    """One message to a webhook, and what became of it."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("webhook_delivery_due", "due_at"),
        _where("webhook_delivery_waiting", "webhook_id", where="due_at IS NOT NULL"),
        _where("webhook_delivery_settled", "created_at", where="due_at IS NULL"),
        Index("webhook_delivery_by_age", "webhook_id", "created_at", "delivery_id"),
        # An event is told once, even when two control workers meet.
        Index("webhook_delivery_once", "webhook_id", "event_id", unique=True),
    )

    delivery_id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    """The message's `webhook-id`: the same at each try."""

    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhook.webhook_id"))
    event_id: Mapped[int | None] = mapped_column(BigInteger)
    """None for a test."""

    kind: Mapped[str] = mapped_column(String(60))
    body: Mapped[str] = mapped_column(Text)
    """The exact text that is signed and sent."""

    created_at: Mapped[datetime] = mapped_column(default=now)
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime | None] = mapped_column(default=now)
    """When to try next; None once it was taken or given up."""

    tried_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    status: Mapped[int | None]
    """HTTP status of the last try; None where there was no answer."""

    detail: Mapped[str] = mapped_column(String(1000), default="")


class Marker(Table):
    """A named lock that runs out by itself, for work that must not run twice at once."""

    __tablename__ = "marker"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    held_until: Mapped[datetime]
