"""What scheduler and workers say to one another: JSON, versioned, complete in itself.

A message of another version is refused with a clear error and never guessed at.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from specs import queues
from specs.contract import Contract
from specs.engines.gpu_health import GpuHealth
from specs.errors import MessageError
from specs.judging.stopping import Stopping
from specs.measurement import CommitId, Evidence, Measurement, Moment, PartialLog, Sha256
from specs.policy.engine import EngineRules
from specs.policy.generation import GenerationSettings
from specs.policy.judges import JudgeEndpoint
from specs.text import clean, is_clean

VERSION = 1

RUN_BATCH = "workers.run_batch"
"""Celery task of a pool's queue; argument: a `RunBatch`."""

CONTROL_QUEUE = queues.CONTROL_QUEUE
ATTEMPTS_ALIVE = "scheduler.attempts_alive"
"""Celery task of the control queue; argument: an `AttemptsAlive`."""

REPORT = "scheduler.report"
"""Celery task of the control queue; argument: a `Report`."""

WORKER_ALIVE = "scheduler.worker_alive"
"""Celery task of the control queue; argument: a `WorkerAlive`."""

DROP_ATTEMPT = "drop_attempt"
"""Celery remote-control command to a worker, with arguments `reproduction_id` and `attempt`: stop that attempt."""


FETCH_AHEAD = "fetch_ahead"
"""Celery remote-control command to a worker, with a `FetchAhead` as its argument `hint`."""


class Message(Contract):
    """The base of what is sent."""

    version: Literal[1] = 1

    def encode(self) -> dict[str, object]:
        """The message as JSON-ready data."""
        return self.model_dump(mode="json")

    @classmethod
    def decode(cls, data: object) -> Self:
        """The message in `data`.

        Raises:
            MessageError: `data` is not such a message of this version.
        """
        version = data.get("version") if isinstance(data, dict) else None
        if version != VERSION:
            raise MessageError(f"{cls.__name__} of version {clean(repr(version), 60)}; this farm speaks {VERSION}")
        try:
            message = cls.model_validate_json(json.dumps(data, allow_nan=False))
            # An integer of 400 digits is JSON, and infinity where a float is wanted.
            json.dumps(message.encode(), allow_nan=False)
        except (ValueError, TypeError, RecursionError) as error:
            raise MessageError(f"not a {cls.__name__}: {said(error)}") from error
        return message


def said(error: Exception) -> str:
    """What is wrong, without what was sent: that may be long, and acts on terminals."""
    if not isinstance(error, ValidationError):
        return clean(str(error), 300) or type(error).__name__
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return clean("; ".join(f"{_place(each['loc'])}: {each['msg']}".removeprefix(": ") for each in faults[:5]), 600)


def _place(loc: tuple[int | str, ...]) -> str:
    # Each name by itself: one that begins a control sequence would else take the rest of the line with it.
    return ".".join(clean(str(part), 60) for part in loc)


def _plain(name: str) -> str:
    if not is_clean(name):
        raise ValueError("a name with characters that act instead of showing")
    return name


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
"""Of a process or a thing of the farm's: it is written to logs, the database and terminals."""


MAX_ORDERS = 10_000
"""In one batch: more than any plan makes, and what one heartbeat may name."""


class AttemptRef(Contract):
    """One try at a reproduction; the number fences late reports of earlier tries."""

    reproduction_id: Name
    attempt: Annotated[int, Field(ge=1, lt=2**31)]


class ModelRef(Contract):
    """A model repo at one commit."""

    model_id: str
    revision: CommitId


class TaskRef(Contract):
    """A task of a benchmark at one commit."""

    dataset_id: str
    revision: CommitId
    task_id: str | None
    """None where the spec's only task has no id."""

    spec_sha256: Sha256
    """Of eval.yaml at that commit; a worker that finds another one refuses to run."""


class Order(Contract):
    """All that a worker needs to know for one attempt at a reproduction."""

    ref: AttemptRef
    task: TaskRef
    generation: GenerationSettings
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    epochs: Annotated[int, Field(ge=1)] | None
    """Instead of the spec's; None is the spec's own."""

    sample_limit: Annotated[int, Field(gt=0)] | None
    stopping: Stopping | None
    """By what the run stops by itself; None runs every sample up to the limit."""

    allow_self_judge: bool
    judges: dict[str, JudgeEndpoint]
    """Endpoints for the judges that the spec names."""

    stall_seconds: float
    deadline_seconds: float
    resume: Evidence | None = None
    """The partial log of an earlier attempt, to go on from where that can be used. None starts at the beginning."""

    alone: bool = False
    """Not to be run beside others: an earlier attempt may have been what broke its engine or its worker."""


class RunBatch(Message):
    """Reproductions of one model that one worker begins on one engine in this order."""

    batch_id: str
    model: ModelRef
    engine: EngineRules
    gpus: Annotated[int, Field(ge=0)]
    heartbeat_seconds: float
    side_by_side: Annotated[int, Field(ge=1, le=64)] = 1
    """Orders that are run at once; together they have as many requests in flight as the engine takes."""

    orders: Annotated[tuple[Order, ...], Field(min_length=1, max_length=MAX_ORDERS)]


class FetchAhead(Message):
    """What a worker is likely to need next. A hint: nothing depends on whether it is followed."""

    model: ModelRef
    tasks: Annotated[tuple[TaskRef, ...], Field(max_length=256)]


class Stage(StrEnum):
    """What a worker is doing for an attempt."""

    WAITING = "waiting"
    """In the batch, behind others."""

    FETCHING = "fetching"
    STARTING_ENGINE = "starting_engine"
    RUNNING = "running"
    STORING = "storing"


AWAITS_STORE = "the run is done, and its log waits for the evidence store"
"""Where a worker tells of a log that it cannot store yet, its words begin with these."""


class Progress(Contract):
    """How far one attempt is."""

    ref: AttemptRef
    stage: Stage
    samples_done: Annotated[int, Field(ge=0, lt=2**31)] = 0
    samples_total: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """None until the dataset is read."""

    score: Annotated[float, Field(ge=0, le=1)] | None = None
    """Mean so far; None before the first score."""

    log_tail: Annotated[str, Field(max_length=2000)] | None = None
    """The engine's last lines, in case they are the last that is heard; None where there is nothing new to say. While a
    run's log cannot be stored, `AWAITS_STORE` and why."""


LONGEST_HEARTBEAT_SECONDS = 600.0
"""Between two heartbeats that anybody is believed to send no oftener."""


class AttemptsAlive(Message):
    """A worker's heartbeat: renews the lease of every attempt it names."""

    worker: Name
    batch_id: Name
    pool: Name
    progress: Annotated[tuple[Progress, ...], Field(min_length=1, max_length=MAX_ORDERS)]
    every_seconds: Annotated[float, Field(gt=0, le=LONGEST_HEARTBEAT_SECONDS)] | None = None
    """The next one follows after so long, or sooner: as policy was when the batch was sent. None where its worker does
    not say."""


class WorkerState(StrEnum):
    """What a worker says of itself."""

    IDLE = "idle"
    BUSY = "busy"
    """Runs a batch."""

    DRAINING = "draining"
    """Was asked to stop: takes nothing new, and is gone soon."""

    QUARANTINED = "quarantined"
    """Takes nothing, because its device is not free or not well; goes on looking."""


class DeviceMemory(Contract):
    """Memory of one device: of a GPU, or of the machine for a CPU pool."""

    device: Name
    total_bytes: Annotated[int, Field(ge=0, lt=2**53)]
    free_bytes: Annotated[int, Field(ge=0, lt=2**53)]
    health: GpuHealth | None = None
    """Of a GPU; None of anything else."""


class LoadedEngine(Contract):
    """The engine that a worker keeps."""

    model: Name
    revision: CommitId
    started_at: Moment
    tokens_per_second: Annotated[float, Field(ge=0, lt=1e9)] | None
    """Of output, since the word before; None where the engine does not say."""


MAX_ASLEEP = 64
"""Engines that one worker is believed to keep asleep."""


class WorkerAlive(Message):
    """A worker says that it is there, whether or not it works. Renews no lease: `AttemptsAlive` does."""

    worker: Name
    pool: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
    state: WorkerState
    reason: Annotated[str, Field(max_length=2000)]
    """Of the state, where it has one."""

    hardware: Annotated[str, Field(max_length=500)]
    memory: Annotated[tuple[DeviceMemory, ...], Field(max_length=64)]
    engine: LoadedEngine | None
    engine_key: Sha256 | None = None
    """Of that engine: specs/engine_key.py."""

    asleep: Annotated[tuple[Sha256, ...], Field(max_length=MAX_ASLEEP)] = ()
    """Keys of engines whose weights it keeps in the host's memory."""

    every_seconds: Annotated[float, Field(ge=1, le=120)]
    """The next word follows after so long, or sooner."""

    number: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    """Greater than that of every earlier word of this worker, unless its clock was set back while it was down. None
    where it does not say."""


class AttemptOutcome(StrEnum):
    """What became of an attempt. Only a completed one can lead to a verdict about the claim."""

    COMPLETED = "completed"
    MODEL_FAILED = "model_failed"
    """The engine cannot load or run this model: broken weights, unknown architecture."""

    SPEC_FAILED = "spec_failed"
    """The spec or its dataset cannot be run as it stands."""

    OUT_OF_MEMORY = "out_of_memory"
    ENGINE_FAILED = "engine_failed"
    """The engine died or would not start, and not by the model's fault as far as can be told."""

    REQUESTS_REFUSED = "requests_refused"
    """The engine takes nothing that the farm asks it for this model: the operator's sampling settings, or the form of
    its own requests. It would not another time."""

    HUB_AWAY = "hub_away"
    NO_ACCESS = "no_access"
    """The Hub refuses: gated or private."""

    JUDGE_AWAY = "judge_away"
    """A model that grades answers does not answer, or asks for patience; what the run finished before may be kept."""

    JUDGE_REFUSES = "judge_refuses"
    """It does not take the worker's key, or does not know the model that policy names; nothing was run."""

    DISK_FULL = "disk_full"
    """No room on a disk of the worker, or in the evidence store."""

    DEVICE_BUSY = "device_busy"
    """The memory that the engine needs is held by somebody else on the worker's device, or the device is not well;
    nothing was run."""

    STALLED = "stalled"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    WORKER_FAILED = "worker_failed"
    """Anything else that went wrong in the worker: our fault."""

    HANDED_BACK = "handed_back"
    """The worker was told to stop, as when its node is drained. Nobody's failure; what it finished may be kept."""

    LOST = "lost"
    """Never reported by a worker: what the reaper says of an attempt whose lease ran out."""

    INTERRUPTED = "interrupted"
    """Never reported by a worker: lost like that, but not by its own doing. Its turn had not come when its worker died,
    or the control plane itself was away."""


class Report(Message):
    """How one attempt ended."""

    ref: AttemptRef
    worker: Name
    batch_id: Name | None = None
    """In which it was ordered. None from workers of earlier versions."""

    model: ModelRef
    task: TaskRef
    outcome: AttemptOutcome
    detail: Annotated[str, Field(max_length=8000)]
    """What happened, in words that a maintainer can act on; the engine's last log lines where it failed."""

    measurement: Measurement | None
    """Present exactly where the attempt completed."""

    evidence: Evidence | None
    partial: PartialLog | None = None
    """The answers that a run had when it was handed back, or its judge went away, for the next attempt to go on from.
    None where there are none, or they could not be stored in time."""

    retry_after_seconds: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _a_completed_attempt_has_its_proof(self) -> Self:
        completed = self.outcome is AttemptOutcome.COMPLETED
        if completed != (self.measurement is not None) or (completed and self.evidence is None):
            raise ValueError("a measurement with its evidence exactly where the attempt completed")
        if self.partial is not None and self.outcome not in (AttemptOutcome.HANDED_BACK, AttemptOutcome.JUDGE_AWAY):
            raise ValueError("a partial log only where the attempt was handed back, or its judge went away")
        return self
