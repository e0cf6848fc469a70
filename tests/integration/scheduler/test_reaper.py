"""A round of the reaper: its steps in their order, each of which has tests of its own."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from sqlalchemy import event

from scheduler.database.tables import Attempt, Reproduction, Worker, now
from scheduler.reaping.reaper import reap
from scheduler.state_machine import ReproductionState
from specs.policy.rules import Policy
from tests.support.queues import EMPTY_QUEUES
from tests.support.rows import Rows


def waits_for(rows: Rows, worker: str) -> str:
    """A run in a worker's own queue, whose message is gone and whose lease is long over; returns its id."""
    over = now() - timedelta(minutes=1)
    sent: dict[str, Any] = {"state": ReproductionState.DISPATCHED, "attempt": 1, "batch_id": "a" * 32}
    run = rows.run_of(rows.sendable(sent_to=worker, lease_until=over, since=over, **sent))
    rows.attempt(run, 1)
    with rows.database.transaction() as session:
        session.get_one(Attempt, (run, 1)).dispatched_at = over
    return run


def test_a_worker_is_found_lost_before_what_waits_for_it_is_looked_for(rows: Rows) -> None:
    rows.worker("gone", due_at=now() - timedelta(seconds=1))
    run = waits_for(rows, "gone")
    assert reap(rows.database, Policy(), *EMPTY_QUEUES) == 2
    with rows.database.reading() as session:
        assert session.get_one(Worker, "gone").state == "lost"
        found = session.get_one(Reproduction, run)
    assert found.state == ReproductionState.QUEUED
    assert found.reason == "worker gone, for which it waited, takes nothing more", "the broker lost no message"


def test_a_round_asks_the_database_nothing_twice(rows: Rows) -> None:
    rows.worker("w1", state="busy")
    waits_for(rows, "w1")
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        values = parameters.values() if isinstance(parameters, dict) else parameters
        # No two moments are the same.
        fixed = [str(each) for each in values if not re.match(r"\d{4}-\d\d-\d\d", str(each))]
        if statement.startswith("SELECT"):
            asked.append(f"{statement} {fixed}")

    event.listen(rows.database.engine, "before_cursor_execute", note)
    reap(rows.database, Policy(), *EMPTY_QUEUES)
    assert len(asked) > 5
    assert [each for each in asked if asked.count(each) > 1] == []
