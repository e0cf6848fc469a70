"""What was sent to workers, as the outbox has it, and what a worker that runs it says."""

from __future__ import annotations

from sqlalchemy import select

from scheduler.database.session import Database
from scheduler.database.tables import Attempt, OutboxRow
from specs.messages import RUN_BATCH, AttemptRef, AttemptsAlive, Progress, RunBatch, Stage


def sent_batches(database: Database) -> list[RunBatch]:
    """Oldest first."""
    with database.reading() as session:
        rows = session.scalars(select(OutboxRow).where(OutboxRow.task == RUN_BATCH).order_by(OutboxRow.created_at))
        return [RunBatch.decode(row.body) for row in rows]


def batch_of(database: Database, ref: AttemptRef) -> str:
    """The id of the batch that an attempt was sent out in."""
    with database.reading() as session:
        return session.get_one(Attempt, (ref.reproduction_id, ref.attempt)).batch_id


def heartbeat(batch: RunBatch, worker: str) -> AttemptsAlive:
    """Of a worker that has an answer for each of a batch's orders."""
    progress = tuple(Progress(ref=order.ref, stage=Stage.RUNNING, samples_done=1) for order in batch.orders)
    return AttemptsAlive(worker=worker, batch_id=batch.batch_id, pool="cpu", progress=progress)
