"""Hints to workers: what each is likely to need next, so that it fetches that while it still runs something else.

What waits in a worker's own queue is for that worker; what waits in its pool's queue, for whoever is free first. A hint
that goes to the wrong one, or is lost, costs a download that is made later, or in vain.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from scheduler.messaging import outbox
from specs.messages import CONTROL_QUEUE, FetchAhead, RunBatch

HINT = "scheduler.hint"
"""Celery task of the control queue; body: {"worker", "hint"}, a `FetchAhead`."""


def hint(session: Session, batch: RunBatch, worker: str | None, before: int, next_free: Sequence[str]) -> None:
    """Have whoever is likely to run a batch fetch what it needs; part of the transaction that sends it.

    Args:
        session: of that transaction.
        batch: that is sent.
        worker: in whose own queue it is put; None is its pool's common one.
        before: batches that wait there already.
        next_free: the pool's workers that run something, as `assignment.next_free` has them.
    """
    if worker is None:
        worker = next_free[before] if before < len(next_free) else None
    elif worker not in next_free:
        # It begins with it at once.
        return
    if worker is None:
        return
    tasks = tuple(dict.fromkeys(order.task for order in batch.orders))
    message = FetchAhead(model=batch.model, tasks=tasks[:256])
    outbox.put(session, queue=CONTROL_QUEUE, task=HINT, body={"worker": worker, "hint": message.encode()})
