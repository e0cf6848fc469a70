"""What one control worker does while another is in the middle of its own: in the order that would do harm."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select, text, update

from scheduler.collect import ending, heartbeats
from scheduler.collect.ending import end_attempt
from scheduler.collect.heartbeats import alive
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Claim, Marker, Reproduction, now
from scheduler.database.tables.marker import REAPER_LOOKED
from scheduler.dispatch import dispatcher
from scheduler.dispatch.assignment import COMMON_AHEAD
from scheduler.dispatch.dispatcher import dispatch
from scheduler.messaging import outbox
from scheduler.planning import planning
from scheduler.reaping import overdue
from scheduler.reaping.reaper import reap
from scheduler.requests import intervening, resubmitting
from scheduler.requests.intervening import cancel, retry
from scheduler.state_machine import ClaimState, ReproductionState
from scheduler.watch import claims
from scheduler.watch.claims import withdraw_all, withdraw_refs
from scheduler.watch.models import look_at_model
from scheduler.watch.result_files import Access
from specs.errors import InterventionError
from specs.judging.verdict import Outcome
from specs.messages import RUN_BATCH, AttemptOutcome, AttemptRef, AttemptsAlive, Progress, Stage
from specs.policy.pools import PoolRules
from specs.policy.rules import Policy
from specs.queues import own_queue
from tests.support.asking_again import reverify
from tests.support.databases import Databases
from tests.support.hub_content import EVAL_YAML, add_benchmark, add_model, entry, submit
from tests.support.interleaving import begun_beside
from tests.support.queues import EMPTY_QUEUES, nothing_withdrawn
from tests.support.rows import Rows
from tests.support.scheduler import control_plane

POLICY = Policy(pools=(PoolRules(name="cpu", device="cpu", gpus=0, memory_gib=80),))
MODEL = "tiny/model"

# A farm on SQLite has one control worker.
pytestmark = pytest.mark.parametrize("databases", ["postgresql"], indirect=True)


def once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, work: Callable[[], object]) -> None:
    """Have something done when a function is called for the first time, before it does its own."""
    own, left = getattr(owner, name), [work]

    def called(*asked: Any, **more: Any) -> Any:
        if left:
            left.pop()()
        return own(*asked, **more)

    monkeypatch.setattr(owner, name, called)


def claim(database: Database, claim_id: str) -> Claim:
    with database.reading() as session:
        return session.get_one(Claim, claim_id)


def states(database: Database) -> dict[str, str]:
    with database.reading() as session:
        return {row.reproduction_id: row.state for row in session.scalars(select(Reproduction))}


def test_two_dispatchers_do_not_fill_a_place_in_a_queue_twice(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(COMMON_AHEAD):
        rows.sendable(f"tiny/model{number}")
    others: list[Future[object]] = []

    def more_urgent_ones() -> None:
        for number in range(COMMON_AHEAD):
            rows.sendable(f"tiny/urgent{number}", priority=10)
        others.append(begun_beside(rows.database, lambda: dispatch(rows.database, POLICY)))

    once(monkeypatch, dispatcher, "_send", more_urgent_ones)
    dispatch(rows.database, POLICY)
    others[0].result()
    with rows.database.reading() as session:
        assert session.scalar(select(func.count(Attempt.batch_id.distinct()))) == COMMON_AHEAD


def test_a_run_that_a_claim_joins_meanwhile_is_not_cancelled_as_one_that_nobody_needs(rows: Rows) -> None:
    run, joining = rows.reproduction(), rows.claim()

    def pause(_c: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> tuple[str, Any]:
        # The reaper's question has its snapshot, and has not come to the row yet when the planner commits.
        asked = "NOT (EXISTS"
        return statement.replace(asked, f"(SELECT pg_advisory_xact_lock(7)::text) IS NOT NULL AND {asked}"), parameters

    event.listen(rows.database.engine, "before_cursor_execute", pause, retval=True)
    with rows.database.transaction() as planner:
        # As a planner does it: the run is locked, and then the claim points to it.
        planner.get_one(Reproduction, run, with_for_update=True)
        planner.get_one(Claim, joining).state, planner.get_one(Claim, joining).reproduction_id = ClaimState.PLANNED, run
        planner.execute(text("SELECT pg_advisory_xact_lock(7)"))
        other = begun_beside(rows.database, lambda: reap(rows.database, POLICY, *EMPTY_QUEUES))
    other.result()
    assert states(rows.database) == {run: ReproductionState.QUEUED}


def test_a_claim_that_is_withdrawn_while_it_needs_no_approval_any_more_stays_withdrawn(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = rows.claim(state=ClaimState.BLOCKED, awaits_approval=True)
    others: list[Future[object]] = []
    once(monkeypatch, planning, "unblock_claim", lambda: others.append(begun_beside(rows.database, withdrawal(rows))))
    planning.unblock(rows.database, POLICY)
    others[0].result()
    assert (claim(rows.database, blocked).state, claim(rows.database, blocked).live) == (ClaimState.WITHDRAWN, False)


def test_a_claim_that_is_withdrawn_while_its_run_ends_is_withdrawn_in_the_end(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = rows.running()
    others: list[Future[object]] = []
    once(monkeypatch, ending, "give_verdict", lambda: others.append(begun_beside(rows.database, withdrawal(rows))))
    with rows.database.reading() as session:
        run = session.get_one(Reproduction, claim(rows.database, running).reproduction_id)
    with rows.database.transaction() as session:
        row = session.get_one(Reproduction, run.reproduction_id, with_for_update=True)
        end_attempt(session, POLICY, row, AttemptOutcome.MODEL_FAILED, "its weights are broken")
    others[0].result()
    assert (claim(rows.database, running).state, claim(rows.database, running).live) == (ClaimState.WITHDRAWN, False)


def test_a_claim_that_is_cancelled_while_it_is_planned_leaves_no_attempt_open(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = rows.run_of(cancelled := rows.sendable())
    with rows.database.transaction() as session:
        found = session.get_one(Claim, cancelled)
        found.state, found.reproduction_id = ClaimState.SUBMITTED, None
    # A third one sends its run out as soon as the planner is done.
    once(monkeypatch, intervening, "_hold", lambda: dispatch(rows.database, POLICY))
    with rows.database.transaction() as planner:
        planned = planner.get_one(Claim, cancelled, with_for_update=True)
        planned.state, planned.reproduction_id = ClaimState.PLANNED, run
        other = begun_beside(rows.database, lambda: cancel(rows.database, cancelled, "a typing error", "operator:ada"))
    other.result()
    assert (claim(rows.database, cancelled).state, states(rows.database)) == ("blocked", {run: "cancelled"})
    with rows.database.reading() as session:
        assert session.scalars(select(Attempt).where(Attempt.ended_at.is_(None))).all() == []


def test_whoever_has_a_run_tried_again_does_not_wait_for_a_planner_that_waits_for_that_run(rows: Rows) -> None:
    run = rows.reproduction(state=ReproductionState.CANCELLED)
    blocked, planned = (
        rows.claim(f"tiny/{state}", state=state, reproduction_id=run)
        for state in (ClaimState.BLOCKED, ClaimState.SUBMITTED)
    )
    with rows.database.transaction() as planner:
        planner.get_one(Claim, planned, with_for_update=True)
        other = begun_beside(rows.database, lambda: retry(rows.database, run, "the disk has room", "operator:ada"))
        # The entry's earlier run, with which it may begin.
        planner.get_one(Reproduction, run, with_for_update=True)
    other.result()
    assert claim(rows.database, blocked).state == ClaimState.SUBMITTED


def test_an_entry_that_another_look_enters_while_a_scan_reads_it_stops_no_scan(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    with control_plane(tmp_path, databases) as farm:
        hub = farm.served.local
        add_benchmark(hub, "acme/capitals", EVAL_YAML)
        models = [add_model(hub, MODEL), add_model(hub, "tiny/other")]
        for model in models:
            submit(hub, model, entry("acme/capitals", 50))

        def look_at_all() -> None:
            for model_id in (MODEL, "tiny/other"):
                look_at_model(farm.database, farm.hub, model_id, None)

        # Once this look has the model locked, others wait for it.
        once(monkeypatch, Access, "alone", look_at_all)
        farm.scan()
        farm.scan()
        assert [(each.value, each.live) for each in farm.claims()] == [(50.0, True)] * 2


def gone(database: Database) -> None:
    withdraw_all(database, MODEL)


def closed(database: Database) -> None:
    with database.transaction() as session:
        withdraw_refs(session, MODEL, {"main"})


def taken_away(database: Database) -> None:
    place = claims.Place(MODEL, "main", None, "c" * 40, "tiny")
    with database.transaction() as session:
        claims.reconcile(session, place, ".eval_results/capitals.yaml", "", claims.Reading((), ()))


@pytest.mark.parametrize("withdrawn", [gone, closed, taken_away])
@pytest.mark.parametrize("first", ["the withdrawal", "the request"])
def test_a_claim_that_is_to_be_verified_again_while_it_is_withdrawn_leaves_none_behind(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, withdrawn: Callable[[Database], None], first: str
) -> None:
    asked = rows.decided(Outcome.FAILED)
    others: list[Future[object]] = []

    def ask() -> None:
        # It may be too late for that.
        with suppress(InterventionError):
            reverify(rows.database, asked, "we changed the drivers", "hub:tiny")

    def withdraw() -> None:
        withdrawn(rows.database)

    if first == "the withdrawal":
        once(monkeypatch, claims, "move_claim", lambda: others.append(begun_beside(rows.database, ask)))
        withdraw()
    else:
        once(monkeypatch, resubmitting, "move_claim", lambda: others.append(begun_beside(rows.database, withdraw)))
        ask()
    others[0].result()
    # Nobody would look at it once more: the farm remembers what the Hub held.
    with rows.database.reading() as session:
        assert session.scalars(select(Claim.claim_id).where(Claim.live)).all() == []


def withdrawal(rows: Rows) -> Callable[[], object]:
    """What a scan does about a model that is gone."""
    return lambda: withdraw_all(rows.database, MODEL)


def dispatched(rows: Rows, name: str, sent_to: str | None = None) -> str:
    """A batch of one run whose lease is long over; returns the run's id."""
    run = rows.run_of(
        rows.sendable(
            f"tiny/{name}",
            state=ReproductionState.DISPATCHED,
            attempt=1,
            batch_id=name * 32,
            sent_to=sent_to,
            lease_until=now() - timedelta(minutes=1),
            since=now(),
        )
    )
    rows.attempt(run, 1)
    return run


def test_a_batch_that_is_not_sent_yet_is_not_sent_once_more(rows: Rows) -> None:
    run = dispatched(rows, "a")
    with rows.database.transaction() as session:
        outbox.put(session, queue="pool.cpu", task=RUN_BATCH, body={}, message_id="a" * 32)
    broker: set[str] = set()

    def queued_ids(_queue: str) -> set[str]:
        found = set(broker)
        # Another control worker sends it just after that look.
        outbox.relay(rows.database, lambda **message: broker.add(message["message_id"]))
        return found

    reap(rows.database, POLICY, queued_ids, nothing_withdrawn)
    assert broker == {"a" * 32}
    assert states(rows.database) == {run: ReproductionState.DISPATCHED}


def test_of_two_reapers_none_takes_for_lost_what_waits_in_a_queue_that_it_did_not_look_into(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue, "REAPED_AT_ONCE", 1)
    for name in ("one@host", "two@host"):
        rows.worker(name, state="busy")
    first, second = dispatched(rows, "a", "one@host"), dispatched(rows, "b", "two@host")
    with rows.database.sessions() as other:

        def queued_ids(queue: str) -> set[str]:
            # The other one is about to set the first right.
            other.get_one(Reproduction, first, with_for_update=True)
            return {"a" * 32} if queue == own_queue("cpu", "one@host") else {"b" * 32}

        reap(rows.database, POLICY, queued_ids, nothing_withdrawn)
    assert states(rows.database) == {first: ReproductionState.DISPATCHED, second: ReproductionState.DISPATCHED}


@pytest.mark.parametrize("sent_to", [None, "two@host"])
def test_what_is_sent_once_more_while_the_broker_is_asked_is_not_taken_for_lost(
    rows: Rows, sent_to: str | None
) -> None:
    run = dispatched(rows, "a")

    def queued_ids(_queue: str) -> set[str]:
        # So slowly that the lease of what was sent since is over too.
        with rows.database.transaction() as session:
            row = session.get_one(Reproduction, run)
            row.batch_id, row.sent_to = "b" * 32, sent_to
        return set()

    reap(rows.database, POLICY, queued_ids, nothing_withdrawn)
    assert states(rows.database) == {run: ReproductionState.DISPATCHED}


def test_runs_are_granted_time_while_heartbeats_of_them_come_in(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [rows.run_of(rows.running(f"tiny/model{number}")) for number in range(6)]
    with rows.database.transaction() as session:
        session.add(Marker(name=REAPER_LOOKED, at=now() - timedelta(hours=1)))
        session.execute(update(Attempt).values(batch_id="b"))
    others: list[Future[object]] = []

    def grants() -> object:
        return reap(rows.database, POLICY, *EMPTY_QUEUES)

    once(monkeypatch, heartbeats, "_renew", lambda: others.append(begun_beside(rows.database, grants)))
    progress = tuple(Progress(ref=AttemptRef(reproduction_id=run, attempt=2), stage=Stage.RUNNING) for run in runs)
    message = AttemptsAlive(worker="w1@host", batch_id="b", pool="cpu", progress=progress)
    assert alive(rows.database, POLICY, message) == []
    others[0].result()
    assert set(states(rows.database).values()) == {ReproductionState.RUNNING}
