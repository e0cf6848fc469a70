"""A log that is missing: did its worker not store it, or has the store lost what it held?

An empty volume that is mounted in the place of the evidence store, or a bucket of that name made anew, lacks every log.
No worker is to blame for that, and a run for each report would be run again.
"""

from __future__ import annotations

from sqlalchemy import select

from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Reproduction
from specs.messages import AttemptOutcome, AttemptRef
from specs.processes.evidence_store import evidence_store, place_in

LOOKED_FOR = 3
"""How many logs of earlier runs are looked for; a store that has none of them is taken to have lost its contents."""


def has_lost_its_logs(database: Database, evidence_url: str, ref: AttemptRef) -> bool:
    """Whether the store has none of the last logs from before an attempt was sent out; where there were none, no file.

    What was stored since says nothing: the loss may lie between the attempt's end and that.

    Raises:
        Exception: the store cannot be read; every remote store has errors of its own.
    """
    files, root = evidence_store(evidence_url)
    logs = _earlier_logs(database, ref)
    if not logs:
        return not files.ls(root)
    return not any(files.exists(place_in(root, log)) for log in logs)


def _earlier_logs(database: Database, ref: AttemptRef) -> list[str]:
    sent = (
        select(Attempt.dispatched_at)
        .where(Attempt.reproduction_id == ref.reproduction_id, Attempt.number == ref.attempt)
        .scalar_subquery()
    )
    query = (
        select(Reproduction.evidence_sha256)
        .join(Attempt, Attempt.reproduction_id == Reproduction.reproduction_id)
        .where(
            Attempt.ended_at < sent,
            Attempt.outcome == AttemptOutcome.COMPLETED,
            Reproduction.evidence_sha256.is_not(None),
        )
        .order_by(Attempt.ended_at.desc())
        .limit(LOOKED_FOR)
    )
    with database.reading() as session:
        return [log for log in session.scalars(query) if log is not None]
