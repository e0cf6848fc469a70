"""Batches go to the worker that has their engine, and come back from one that takes nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from scheduler.collect import reports
from scheduler.collect.checking import Checked
from scheduler.collect.heartbeats import alive
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Claim, Marker, OutboxRow, Reproduction, Worker, now
from scheduler.database.tables.marker import REAPER_LOOKED
from scheduler.dispatch.dispatcher import dispatch
from scheduler.dispatch.fetch_ahead_hints import HINT
from scheduler.dispatch.taking_back import pass_over, rebalance, take_back
from scheduler.messaging import outbox
from scheduler.reaping.reaper import reap
from scheduler.state_machine import ClaimState, ReproductionState
from specs.engine_key import engine_key
from specs.messages import RUN_BATCH, AttemptOutcome, FetchAhead, Report, RunBatch
from specs.policy.rules import Policy
from specs.queues import own_queue, pool_queue
from tests.support.databases import ON_BOTH, Databases, mostly_sqlite
from tests.support.queues import EMPTY_QUEUES
from tests.support.rows import Rows
from tests.support.scheduler import migrated_database
from tests.support.sent_batches import heartbeat

COMMON = pool_queue("cpu")


REVISION = "c" * 40


databases = mostly_sqlite


@dataclass(frozen=True)
class Plane:
    """What dispatching needs."""

    database: Database
    policy: Policy


@dataclass
class Broker:
    """What was put into the broker's queues and not taken out again."""

    farm: Plane
    gone: set[str] = field(default_factory=set)

    def withdraw(self, queue: str, batch_id: str) -> bool:
        there = batch_id in self.waiting(queue)
        self.gone.add(batch_id)
        return there

    def waiting(self, queue: str) -> set[str]:
        return {batch_id for name, batch_id in sent(self.farm) if name == queue} - self.gone


@pytest.fixture
def farm(tmp_path: Path, databases: Databases) -> Iterator[Plane]:
    """Three models with a queued reproduction each."""
    plane = Plane(migrated_database(tmp_path, databases), Policy())
    for name in ("one", "two", "three"):
        claim_of(plane, f"tiny/{name}")
    yield plane
    plane.database.engine.dispose()


def claim_of(farm: Plane, model_id: str) -> None:
    """One more reproduction of a model."""
    Rows(farm.database).sendable(model_id, model_revision=REVISION, created_at=now(), since=now())


def sent(farm: Plane) -> list[tuple[str, str]]:
    """Queue and id of every batch that was sent, oldest first."""
    with farm.database.reading() as session:
        rows = session.execute(
            select(OutboxRow.queue, OutboxRow.message_id)
            .where(OutboxRow.task == RUN_BATCH)
            .order_by(OutboxRow.created_at)
        )
        return [(queue, message_id) for queue, message_id in rows]


def batches(farm: Plane) -> dict[str, tuple[str, RunBatch]]:
    """The last batch of each model, and its queue."""
    with farm.database.reading() as session:
        rows = session.scalars(select(OutboxRow).where(OutboxRow.task == RUN_BATCH).order_by(OutboxRow.created_at))
        decoded = [(row.queue, RunBatch.decode(row.body)) for row in rows]
    return {batch.model.model_id: (queue, batch) for queue, batch in decoded}


def rows(farm: Plane) -> dict[str, Reproduction]:
    with farm.database.reading() as session:
        return {row.model_id: row for row in session.scalars(select(Reproduction))}


def key_of(farm: Plane, model_id: str) -> str:
    """The key as a worker would reckon it from its batch."""
    dispatch(farm.database, farm.policy)
    found = rows(farm)[model_id].engine_key
    assert found is not None
    return found


def begin(farm: Plane, batch: RunBatch, worker: str) -> None:
    assert alive(farm.database, farm.policy, heartbeat(batch, worker)) == []


def say(farm: Plane, worker: str, **fields: object) -> None:
    with farm.database.transaction() as session:
        session.execute(update(Worker).where(Worker.name == worker).values(**fields))


def test_without_workers_everything_goes_to_the_pools_queue(farm: Plane) -> None:
    dispatch(farm.database, farm.policy)
    assert [queue for queue, _ in sent(farm)] == [COMMON, COMMON]


@ON_BOTH
def test_idle_workers_each_get_a_batch_of_their_own_at_once(farm: Plane) -> None:
    for name in ("w1", "w2", "w3"):
        Rows(farm.database).worker(name)
    assert dispatch(farm.database, farm.policy) == 3
    assert {queue for queue, _ in sent(farm)} == {own_queue("cpu", name) for name in ("w1", "w2", "w3")}
    reasons = {row.reason for row in rows(farm).values()}
    assert reasons == {f"attempt 1 waits for worker {name}" for name in ("w1", "w2", "w3")}


@ON_BOTH
@pytest.mark.parametrize(
    ("gpu_seconds", "began_seconds_ago", "queue"),
    [(100.0, 60, own_queue("cpu", "w1")), (1000.0, 60, COMMON), (100.0, 600, COMMON), (None, 60, COMMON)],
    ids=["soon free", "not for long", "longer than expected", "nobody knows"],
)
def test_the_worker_that_runs_a_model_gets_its_next_batch_if_it_is_soon_free(
    farm: Plane, gpu_seconds: float | None, began_seconds_ago: float, queue: str
) -> None:
    Rows(farm.database).worker("w1", state="busy")
    dispatch(farm.database, farm.policy)
    for model in ("tiny/one", "tiny/two"):
        _, batch = batches(farm)[model]
        begin(farm, batch, "w1" if model == "tiny/one" else "elsewhere")
    dispatch(farm.database, farm.policy)
    began = now() - timedelta(seconds=began_seconds_ago)
    with farm.database.transaction() as session:
        running = update(Reproduction).where(Reproduction.worker == "w1")
        session.execute(running.values(gpu_seconds=gpu_seconds, since=began))
    claim_of(farm, "tiny/one")
    dispatch(farm.database, farm.policy)
    found, second = batches(farm)["tiny/one"]
    assert len(second.orders) == 1
    assert len(sent(farm)) == 4
    assert found == queue


@ON_BOTH
def test_a_worker_is_soon_free_also_where_one_run_of_its_batch_was_blocked_at_no_cost(farm: Plane) -> None:
    Rows(farm.database).worker("w1", state="busy")
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(gpu_seconds=60.0))
        session.execute(update(Reproduction).where(Reproduction.model_id != "tiny/one").values(pool="another"))
    Rows(farm.database).sendable(
        "tiny/one", model_revision=REVISION, task_id="asia", gpu_seconds=60.0, created_at=now(), since=now()
    )
    dispatch(farm.database, farm.policy)
    queue, batch = batches(farm)["tiny/one"]
    assert (queue, len(batch.orders)) == (COMMON, 2)
    begin(farm, batch, "w1")
    blocked = RunBatch.decode({**batch.encode(), "orders": [batch.orders[0].model_dump(mode="json")]})
    with farm.database.transaction() as session:
        session.execute(update(Attempt).values(stage=None))
    fail(farm, {"w1": blocked}, AttemptOutcome.NO_ACCESS)
    claim_of(farm, "tiny/one")
    dispatch(farm.database, farm.policy)
    queue, following = batches(farm)["tiny/one"]
    assert following.batch_id != batch.batch_id
    assert queue == own_queue("cpu", "w1")


def test_a_worker_reckons_the_key_of_an_engine_as_the_control_plane_does(farm: Plane) -> None:
    key = key_of(farm, "tiny/one")
    _, batch = batches(farm)["tiny/one"]
    assert engine_key(batch.model, batch.engine, batch.gpus) == key


def test_an_engine_that_is_up_at_an_idle_worker_is_used(farm: Plane) -> None:
    key = key_of(farm, "tiny/three")
    for queue, batch in batches(farm).values():
        assert queue == COMMON
        begin(farm, batch, f"runs {batch.model.model_id}")
    Rows(farm.database).worker("a-cold-one")
    Rows(farm.database).worker("warm", engine_key=key)
    dispatch(farm.database, farm.policy)
    assert batches(farm)["tiny/three"][0] == own_queue("cpu", "warm")


def fail(farm: Plane, batches: dict[str, RunBatch], outcome: AttemptOutcome) -> None:
    """Have workers, by their names, report that they failed at all of a batch each; in one transaction."""
    said = [
        Report(
            ref=order.ref,
            worker=worker,
            batch_id=batch.batch_id,
            model=batch.model,
            task=order.task,
            outcome=outcome,
            detail="no room",
            measurement=None,
            evidence=None,
        )
        for worker, batch in batches.items()
        for order in batch.orders
    ]
    reports.take_in(farm.database, farm.policy, [Checked(each, None, None, None) for each in said])


def due(farm: Plane) -> None:
    """Wait no longer for what is to be tried again."""
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(not_before=None))


@ON_BOTH
@pytest.mark.parametrize(
    ("outcome", "where"),
    [
        (AttemptOutcome.WORKER_FAILED, own_queue("cpu", "cold")),
        (AttemptOutcome.DISK_FULL, own_queue("cpu", "cold")),
        (AttemptOutcome.HUB_AWAY, own_queue("cpu", "a-warm-one")),
    ],
)
def test_what_failed_at_a_worker_that_has_its_engine_goes_to_another(
    farm: Plane, outcome: AttemptOutcome, where: str
) -> None:
    key = key_of(farm, "tiny/three")
    for _, batch in batches(farm).values():
        begin(farm, batch, f"runs {batch.model.model_id}")
    Rows(farm.database).worker("a-warm-one", engine_key=key)
    Rows(farm.database).worker("cold")
    dispatch(farm.database, farm.policy)
    queue, batch = batches(farm)["tiny/three"]
    assert queue == own_queue("cpu", "a-warm-one")
    begin(farm, batch, "a-warm-one")
    fail(farm, {"a-warm-one": batch}, outcome)
    due(farm)
    dispatch(farm.database, farm.policy)
    assert batches(farm)["tiny/three"][0] == where


def in_its_own_queue(farm: Plane) -> RunBatch:
    """The batch in the own queue of w1, the pool's only worker that waits; all others are begun elsewhere."""
    Rows(farm.database).worker("w1")
    dispatch(farm.database, farm.policy)
    (mine,) = (batch for queue, batch in batches(farm).values() if queue == own_queue("cpu", "w1"))
    for queue, batch in batches(farm).values():
        if queue == COMMON:
            begin(farm, batch, "elsewhere")
    return mine


@ON_BOTH
def test_a_worker_that_a_run_failed_at_takes_it_again_where_no_other_is_idle(farm: Plane) -> None:
    first = in_its_own_queue(farm)
    begin(farm, first, "w1")
    fail(farm, {"w1": first}, AttemptOutcome.WORKER_FAILED)
    before = now() + timedelta(seconds=farm.policy.run.lease_seconds)
    with farm.database.reading() as session:
        until = session.get_one(Worker, "w1").passed_over_until
    assert until is not None
    assert before < until < before + timedelta(minutes=1)
    due(farm)
    dispatch(farm.database, farm.policy)
    assert batches(farm)[first.model.model_id][0] == COMMON
    say(farm, "w1", passed_over_until=now())
    claim_of(farm, "tiny/four")
    for queue, batch in batches(farm).values():
        if queue == COMMON:
            begin(farm, batch, "elsewhere")
    dispatch(farm.database, farm.policy)
    assert batches(farm)["tiny/four"][0] == own_queue("cpu", "w1")


@ON_BOTH
def test_workers_that_fail_together_are_all_passed_over_and_not_for_less_than_before(farm: Plane) -> None:
    for name in ("w1", "w2"):
        Rows(farm.database).worker(name)
    dispatch(farm.database, farm.policy)
    own = dict(batches(farm).values())
    theirs = {name: own[own_queue("cpu", name)] for name in ("w2", "w1")}
    tomorrow = now() + timedelta(days=1)
    say(farm, "w2", passed_over_until=tomorrow)
    fail(farm, theirs, AttemptOutcome.DISK_FULL)
    with farm.database.reading() as session:
        until = {row.name: row.passed_over_until for row in session.scalars(select(Worker))}
    assert until["w2"] == tomorrow
    assert until["w1"] is not None
    assert until["w1"] < tomorrow


@pytest.mark.parametrize("state", ["draining", "quarantined", "lost"])
def test_what_waits_for_a_worker_that_takes_nothing_more_goes_to_another(farm: Plane, state: str) -> None:
    broker = Broker(farm)
    Rows(farm.database).worker("w1")
    dispatch(farm.database, farm.policy)
    (mine,) = (model for model, (queue, _) in batches(farm).items() if queue == own_queue("cpu", "w1"))
    say(farm, "w1", state=state)
    assert take_back(farm.database, farm.policy, broker.withdraw) == 1
    assert broker.waiting(own_queue("cpu", "w1")) == set()
    assert (rows(farm)[mine].state, rows(farm)[mine].failures) == (ReproductionState.QUEUED, 0)
    why = "worker w1, for which it waited, takes nothing more"
    assert rows(farm)[mine].reason == why
    with farm.database.reading() as session:
        attempt = session.get_one(Attempt, (rows(farm)[mine].reproduction_id, 1))
        assert (attempt.outcome, attempt.detail) == (AttemptOutcome.INTERRUPTED, why)
    Rows(farm.database).worker("w2")
    for model, (queue, batch) in batches(farm).items():
        if queue == COMMON and model != mine:
            begin(farm, batch, "w3")
    dispatch(farm.database, farm.policy)
    queue, again = batches(farm)[mine]
    assert queue == own_queue("cpu", "w2")
    assert again.orders[0].ref.attempt == 2, "a late start of the first is told to stop"
    assert take_back(farm.database, farm.policy, broker.withdraw) == 0


def to_and_fro(farm: Plane, model_id: str) -> Reproduction:
    """Have a worker that nobody else stands beside say that it is free, get a run, and take nothing more."""
    say(farm, "w1", state="idle")
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(not_before=None))
        # What waits in the pool's queue is for whoever is idle, before a batch of its own.
        session.execute(update(Reproduction).where(Reproduction.model_id != model_id).values(pool="another"))
    dispatch(farm.database, farm.policy)
    assert rows(farm)[model_id].sent_to == "w1"
    say(farm, "w1", state="quarantined")
    take_back(farm.database, farm.policy, lambda _queue, _id: True)
    return rows(farm)[model_id]


@ON_BOTH
def test_what_a_worker_gets_and_never_takes_is_sent_ever_more_seldom_and_not_for_ever(farm: Plane) -> None:
    Rows(farm.database).worker("w1")
    waits = []
    for _ in range(6):
        run = to_and_fro(farm, "tiny/one")
        assert (run.state, run.failures) == (ReproductionState.QUEUED, 0)
        waits.append(round((run.not_before - run.since).total_seconds()) if run.not_before else 0)
    assert waits == [0, 0, 0, 10, 20, 40]
    with farm.database.transaction() as session:
        first = session.get_one(Attempt, (run.reproduction_id, 1))
        first.dispatched_at = now() - timedelta(seconds=farm.policy.run.queue_seconds + 1)
    ended = to_and_fro(farm, "tiny/one")
    assert ended.state == ReproductionState.FAILED
    assert ended.reason.startswith("no worker of pool cpu began it, so for 604800 s and 7 attempts: worker w1, for")
    with farm.database.reading() as session:
        (claim,) = session.scalars(select(Claim).where(Claim.reproduction_id == ended.reproduction_id))
    assert claim.state == ClaimState.DECIDED


def test_a_message_that_was_not_sent_yet_is_not_sent_when_its_batch_was_taken_back(farm: Plane) -> None:
    Rows(farm.database).worker("w1")
    dispatch(farm.database, farm.policy)
    say(farm, "w1", state="lost")
    before = len(sent(farm))
    take_back(farm.database, farm.policy, lambda _queue, _id: False)
    assert len(sent(farm)) == before - 1


def test_a_worker_that_runs_its_batch_keeps_it_while_it_drains(farm: Plane) -> None:
    Rows(farm.database).worker("w1")
    dispatch(farm.database, farm.policy)
    (batch,) = (batch for queue, batch in batches(farm).values() if queue == own_queue("cpu", "w1"))
    begin(farm, batch, "w1")
    say(farm, "w1", state="draining")
    assert take_back(farm.database, farm.policy, lambda _queue, _id: True) == 0


@ON_BOTH
def test_what_a_worker_took_while_nobody_listened_is_not_taken_from_it_before_it_can_say_so(farm: Plane) -> None:
    hour_ago = now() - timedelta(hours=1)
    Rows(farm.database).worker("w1")
    dispatch(farm.database, farm.policy)
    outbox.relay(farm.database, lambda **_: None)
    (batch,) = (batch for queue, batch in batches(farm).values() if queue == own_queue("cpu", "w1"))
    with farm.database.transaction() as session:
        session.add(Marker(name=REAPER_LOOKED, at=hour_ago))
        session.execute(update(Worker).values(due_at=hour_ago))
        session.execute(update(Reproduction).values(lease_until=hour_ago))
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    begin(farm, batch, "w1")
    # Of a worker that says nothing in that time all is taken back.
    say(farm, "w1", due_at=hour_ago)
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    with farm.database.reading() as session:
        assert session.get_one(Worker, "w1").state == "lost"


def behind_another(farm: Plane) -> str:
    """A batch waits in the own queue of w1, which runs another; returns the id of the one that waits."""
    mine = in_its_own_queue(farm)
    claim_of(farm, "tiny/four")
    say(farm, "w1", state="busy")
    return mine.batch_id


def test_what_waits_behind_another_run_goes_to_a_worker_that_becomes_free(farm: Plane) -> None:
    broker = Broker(farm)
    waits = behind_another(farm)
    dispatch(farm.database, farm.policy)
    _, common = batches(farm)["tiny/four"]
    # Something else is for the free one first.
    Rows(farm.database).worker("w2")
    assert rebalance(farm.database, farm.policy, broker.withdraw) == 0
    begin(farm, common, "elsewhere")
    assert rebalance(farm.database, farm.policy, broker.withdraw) == 1
    assert waits in broker.gone
    dispatch(farm.database, farm.policy)
    assert sent(farm)[-1][0] == own_queue("cpu", "w2")


def test_what_waits_behind_another_run_goes_to_a_free_worker_also_where_its_own_is_passed_over(farm: Plane) -> None:
    broker = Broker(farm)
    waits = behind_another(farm)
    dispatch(farm.database, farm.policy)
    begin(farm, batches(farm)["tiny/four"][1], "elsewhere")
    say(farm, "w1", passed_over_until=now() + timedelta(hours=1))
    Rows(farm.database).worker("w2")
    assert rebalance(farm.database, farm.policy, broker.withdraw) == 1
    assert waits in broker.gone


def test_what_its_worker_has_taken_already_is_not_taken_back(farm: Plane) -> None:
    behind_another(farm)
    dispatch(farm.database, farm.policy)
    begin(farm, batches(farm)["tiny/four"][1], "elsewhere")
    Rows(farm.database).worker("w2")
    assert rebalance(farm.database, farm.policy, lambda _queue, _id: False) == 0
    states = [row.state for row in rows(farm).values()]
    assert states.count(ReproductionState.DISPATCHED) == 1


@ON_BOTH
def test_a_worker_that_is_idle_and_takes_nothing_is_passed_over(farm: Plane) -> None:
    broker = Broker(farm)
    Rows(farm.database).worker("deaf", since=now() - timedelta(hours=1))
    dispatch(farm.database, farm.policy)
    assert pass_over(farm.database, farm.policy, broker.withdraw) == 0
    long_ago = now() - timedelta(seconds=farm.policy.run.lease_seconds + 1)
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(since=long_ago))
    assert pass_over(farm.database, farm.policy, broker.withdraw) == 1
    for queue, batch in list(batches(farm).values()):
        if queue == COMMON:
            begin(farm, batch, "elsewhere")
    dispatch(farm.database, farm.policy)
    assert sent(farm)[-1][0] == COMMON


def test_the_reaper_looks_for_a_message_where_it_was_sent(farm: Plane) -> None:
    broker = Broker(farm)
    Rows(farm.database).worker("w1")
    dispatch(farm.database, farm.policy)
    outbox.relay(farm.database, lambda **_: None)
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(lease_until=now() - timedelta(minutes=1)))
    assert reap(farm.database, farm.policy, broker.waiting, broker.withdraw) == 0
    broker.gone.update(broker.waiting(own_queue("cpu", "w1")))
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(lease_until=now() - timedelta(minutes=1)))
    assert reap(farm.database, farm.policy, broker.waiting, broker.withdraw) == 1


def hints(farm: Plane) -> list[tuple[str, str]]:
    """Worker and model of every hint."""
    with farm.database.reading() as session:
        rows = session.scalars(select(OutboxRow).where(OutboxRow.task == HINT).order_by(OutboxRow.created_at))
        return [(row.body["worker"], FetchAhead.decode(row.body["hint"]).model.model_id) for row in rows]


@ON_BOTH
def test_who_is_free_next_is_told_what_it_will_need(farm: Plane) -> None:
    dispatch(farm.database, farm.policy)
    assert hints(farm) == [], "nobody is there"
    (_, one), (_, two) = batches(farm).values()
    for worker, batch in (("w1", one), ("w2", two)):
        Rows(farm.database).worker(worker, state="busy")
        begin(farm, batch, worker)
    for worker, cost in (("w1", 1000.0), ("w2", 100.0)):
        with farm.database.transaction() as session:
            session.execute(update(Reproduction).where(Reproduction.worker == worker).values(gpu_seconds=cost))
    claim_of(farm, "tiny/four")
    dispatch(farm.database, farm.policy)
    assert hints(farm) == [("w2", "tiny/three"), ("w1", "tiny/four")]


@ON_BOTH
def test_a_worker_that_begins_at_once_is_told_nothing(farm: Plane) -> None:
    Rows(farm.database).worker("w1")
    dispatch(farm.database, farm.policy)
    assert hints(farm) == []
