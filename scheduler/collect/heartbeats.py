"""Heartbeats, taken in: they renew the leases of attempts. Of one that counts no more, its worker is to be told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from scheduler.collect.current_attempts import (
    ROW_SECONDS,
    CurrentAttempt,
    current_attempts,
    free_of,
    is_current,
    taken_by,
    taken_words,
)
from scheduler.database.postgres import is_row_held, wait_briefly_for_rows
from scheduler.database.session import Database
from scheduler.database.tables import now
from scheduler.record import MAX_REASON_CHARS
from specs.messages import AttemptRef, AttemptsAlive, Progress, Stage
from specs.policy.rules import Policy
from specs.policy.run import RunRules
from specs.text import clean, clean_lines

HEARTBEATS = 3
"""In a lease, at least: as policy has to have it (`RunRules`)."""

AWAITED = "its worker may have been heard of when its row was held: there is time for that"
"""What the reason of a run says whose attempt the reaper spared (scheduler/reaping/silent_attempts.py), until the
worker is heard of."""


@dataclass(frozen=True)
class Stale:
    """An attempt that a worker should stop: it is no longer the one that counts."""

    ref: AttemptRef
    worker: str


def alive(database: Database, policy: Policy, message: AttemptsAlive) -> list[Stale]:
    """Renew the lease of every attempt that is the current one and this worker's; returns the others.

    Where somebody else holds a row for `ROW_SECONDS`, those of the other rows: of that one the next heartbeat tells.
    """
    try:
        stale = _alive(database, policy, message)
    except OperationalError as error:
        if not is_row_held(error):
            raise
        stale = _alive(database, policy, message, pass_over_held=True)
    return [Stale(progress.ref, message.worker) for progress in message.progress if progress.ref in stale]


def _alive(
    database: Database, policy: Policy, message: AttemptsAlive, *, pass_over_held: bool = False
) -> set[AttemptRef]:
    stale: set[AttemptRef] = set()
    refs = [progress.ref for progress in message.progress]
    with database.transaction() as session:
        wait_briefly_for_rows(session, ROW_SECONDS)
        free = set(free_of(session, refs)) if pass_over_held else {ref.reproduction_id for ref in refs}
        current = current_attempts(session, [ref for ref in refs if ref.reproduction_id in free])
        for progress in message.progress:
            if is_current(current, message, progress.ref):
                _renew(session, current[progress.ref.reproduction_id], message, progress, policy.run)
            elif progress.ref.reproduction_id in free:
                stale.add(progress.ref)
    return stale


def _renew(
    session: Session, current: CurrentAttempt, message: AttemptsAlive, progress: Progress, run: RunRules
) -> None:
    reproduction, attempt = current
    taken_by(session, current, message.worker)
    # Policy may ask for more heartbeats by now than when the batch was sent, and its worker goes on as it was told.
    lease_seconds = max(run.lease_seconds, HEARTBEATS * (message.every_seconds or 0.0))
    reproduction.lease_until = now() + timedelta(seconds=lease_seconds)
    if AWAITED in reproduction.reason:
        # It goes on: should it fall silent again, that is another silence.
        reproduction.reason = clean(taken_words(reproduction, message.worker), MAX_REASON_CHARS)
    attempt.alive_at = now()
    attempt.started_at = attempt.started_at or attempt.alive_at
    attempt.stage = progress.stage
    if progress.stage is not Stage.WAITING:
        attempt.begun_at = attempt.begun_at or attempt.alive_at
    # A worker that stores a log has the samples behind it, and says nothing of them.
    if progress.stage is not Stage.STORING:
        attempt.samples_done, attempt.samples_total = progress.samples_done, progress.samples_total
        attempt.score = progress.score
    if progress.log_tail is not None:
        attempt.detail = clean_lines(progress.log_tail)
