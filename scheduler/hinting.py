"""Tells a worker what it is likely to need next, so that it is fetched while the worker still runs something else.

What waits in a worker's own queue is for that worker; what waits in its pool's queue, for whoever is free first. A hint
that goes to the wrong one, or is lost, costs a download that is made later, or in vain.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from scheduler import outbox, seats
from specs.messages import CONTROL_QUEUE, FetchAhead, RunBatch

HINT = "scheduler.hint"
"""Celery task of the control queue; body: {"worker", "hint"}, a `FetchAhead`."""


def hint(session: Session, pool: str, batch: RunBatch, worker: str | None) -> None:
    """Have whoever is likely to run a batch fetch what it needs; part of the transaction that sends it."""
    if worker is None:
        # Of those that wait there, it is the last.
        worker = seats.free_next(session, pool, max(0, seats.waiting_for(session, pool, None) - 1))
    elif not seats.is_running(session, pool, worker):
        # It begins with it at once.
        return
    if worker is None:
        return
    tasks = tuple(dict.fromkeys(order.task for order in batch.orders))
    message = FetchAhead(model=batch.model, tasks=tasks[:256])
    outbox.put(session, queue=CONTROL_QUEUE, task=HINT, body={"worker": worker, "hint": message.encode()})
