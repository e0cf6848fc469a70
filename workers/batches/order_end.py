"""How one order of a batch ended, before it is reported."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from specs.errors import EngineError, HubAway, NoAccess, ReprofarmError
from specs.measurement import Evidence, Measurement, PartialLog
from specs.messages import AttemptOutcome, Order, Report, RunBatch
from workers.disk_faults import is_full_disk
from workers.errors import DeviceBusy, DiskFull, JudgeAway, JudgeRefuses, ModelError, OutOfMemory, SpecError

MAX_DETAIL_CHARS = 8000
_log = logging.getLogger(__name__)

# What an error says of an attempt; the first that fits. Everything else is the worker's own failure.
_OUTCOMES: tuple[tuple[type[Exception], AttemptOutcome], ...] = (
    (ModelError, AttemptOutcome.MODEL_FAILED),
    (OutOfMemory, AttemptOutcome.OUT_OF_MEMORY),
    (EngineError, AttemptOutcome.ENGINE_FAILED),
    (SpecError, AttemptOutcome.SPEC_FAILED),
    (HubAway, AttemptOutcome.HUB_AWAY),
    (NoAccess, AttemptOutcome.NO_ACCESS),
    (JudgeAway, AttemptOutcome.JUDGE_AWAY),
    (JudgeRefuses, AttemptOutcome.JUDGE_REFUSES),
    (DiskFull, AttemptOutcome.DISK_FULL),
    (DeviceBusy, AttemptOutcome.DEVICE_BUSY),
)


@dataclass(frozen=True)
class Ended:
    """What a report says."""

    outcome: AttemptOutcome
    detail: str
    measurement: Measurement | None = None
    evidence: Evidence | None = None
    partial: PartialLog | None = None
    retry_after_seconds: float | None = None


def report_of(order: Order, batch: RunBatch, worker: str, ended: Ended) -> Report:
    """The report on an order that ended so."""
    return Report(
        ref=order.ref,
        worker=worker,
        batch_id=batch.batch_id,
        model=batch.model,
        task=order.task,
        outcome=ended.outcome,
        detail=ended.detail[:MAX_DETAIL_CHARS],
        measurement=ended.measurement,
        evidence=ended.evidence,
        partial=ended.partial,
        retry_after_seconds=ended.retry_after_seconds,
    )


def failure(error: Exception) -> Ended:
    """What an error says of the attempt that it ended."""
    # It may quote the Hub or name a file, and no message can carry half a character.
    said = str(error).encode(errors="replace").decode()
    if not isinstance(error, ReprofarmError) and is_full_disk(error):
        return Ended(AttemptOutcome.DISK_FULL, f"no room on a disk of this worker, or in the evidence store: {said}")
    outcome = next((each for kind, each in _OUTCOMES if isinstance(error, kind)), AttemptOutcome.WORKER_FAILED)
    detail = said
    if outcome is AttemptOutcome.WORKER_FAILED and not isinstance(error, ReprofarmError):
        _log.error("unexpected failure", exc_info=error)
        detail = f"{type(error).__name__}: {said}"
    tail = getattr(error, "log_tail", "")
    if tail:
        # The end of a log says most.
        detail = f"{detail[:2000]}\n{tail[-(MAX_DETAIL_CHARS - 2001) :]}"
    return Ended(outcome, detail, retry_after_seconds=getattr(error, "retry_after_seconds", None))
