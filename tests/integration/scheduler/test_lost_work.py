"""Messages, workers and reports that get lost, and what becomes of the runs that they are about."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from deploy.localhub.names import RepoName, RepoType
from scheduler.collect import heartbeats
from scheduler.collect.heartbeats import Stale, alive
from scheduler.database.tables import Attempt, Marker, OutboxRow, Reproduction, now
from scheduler.database.tables.marker import REAPER_LOOKED
from scheduler.dispatch.dispatcher import dispatch
from scheduler.messaging import outbox
from scheduler.reaping.absence import patience
from scheduler.reaping.endless_attempts import STORING_SECONDS, longest_seconds
from scheduler.reaping.lost_messages import heard_within
from scheduler.reaping.reaper import reap
from scheduler.state_machine import ClaimState, ReproductionState
from specs.messages import AttemptOutcome, AttemptRef, AttemptsAlive, Progress, RunBatch, Stage
from specs.policy.run import RunRules
from tests.support.databases import ON_BOTH, Databases, mostly_sqlite
from tests.support.hub_content import entry, submit
from tests.support.queues import EMPTY_QUEUES, nothing_withdrawn
from tests.support.scheduler import ControlPlane, control_plane_like
from tests.support.sent_batches import heartbeat, sent_batches

databases = mostly_sqlite


@pytest.fixture
def farm(two_models: Path, tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    """Two models with claims on two tasks each, found and planned."""
    with control_plane_like(two_models, tmp_path, databases) as plane:
        yield plane


def ends(farm: ControlPlane) -> list[str | None]:
    """How the attempts ended, the first ones first."""
    with farm.database.reading() as session:
        return list(session.scalars(select(Attempt.outcome).order_by(Attempt.number)))


def expire_leases(farm: ControlPlane) -> None:
    """Let every lease run out, and what may have been taken since be heard of, without waiting for it."""
    set_leases(farm, -1 - heard_within(farm.policy.run).total_seconds())


def set_leases(farm: ControlPlane, seconds: float) -> None:
    until = now() + timedelta(seconds=seconds)
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).where(Reproduction.lease_until.is_not(None)).values(lease_until=until))


def let_back_off_pass(farm: ControlPlane) -> None:
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(not_before=None))


def reap_with_all_queued(farm: ControlPlane) -> None:
    """Have the reaper come while every batch that was ever sent waits in the broker."""
    waiting = {batch.batch_id for batch in sent_batches(farm.database)}
    reap(farm.database, farm.policy, lambda _queue: waiting, nothing_withdrawn)


@ON_BOTH
@pytest.mark.parametrize("stage", [Stage.FETCHING, Stage.STORING])
def test_what_a_worker_says_it_works_at_for_ever_is_taken_from_it_with_what_waits_behind(
    farm: ControlPlane, stage: Stage
) -> None:
    dispatch(farm.database, farm.policy)
    batch = sent_batches(farm.database)[0]
    first, *behind = (order.ref for order in batch.orders)

    def say() -> list[Stale]:
        progress = [
            Progress(ref=first, stage=stage),
            *(Progress(ref=each, stage=Stage.WAITING) for each in behind),
        ]
        return alive(
            farm.database,
            farm.policy,
            AttemptsAlive(worker="hangs", batch_id=batch.batch_id, pool="cpu", progress=tuple(progress)),
        )

    assert say() == []
    reap_with_all_queued(farm)
    with farm.database.transaction() as session:
        attempt = session.get_one(Attempt, (first.reproduction_id, 1))
        assert attempt.begun_at is not None
        attempt.begun_at -= timedelta(seconds=longest_seconds(farm.policy.run))
        assert all(session.get_one(Attempt, (each.reproduction_id, 1)).begun_at is None for each in behind)
    assert say() == []
    reap_with_all_queued(farm)
    if stage is Stage.STORING:
        assert say() == [], "it may wait for the evidence store"
        with farm.database.transaction() as session:
            attempt = session.get_one(Attempt, (first.reproduction_id, 1))
            assert attempt.begun_at is not None
            attempt.begun_at -= timedelta(seconds=STORING_SECONDS)
        reap_with_all_queued(farm)
    with farm.database.reading() as session:
        found = {each: session.get_one(Attempt, (each.reproduction_id, 1)) for each in (first, *behind)}
        state = session.get_one(Reproduction, first.reproduction_id).state
    # Another worker may not hang.
    assert (found[first].outcome, state) == (AttemptOutcome.WORKER_FAILED, ReproductionState.QUEUED)
    assert "worker hangs says that it is at it for more than 172800 s, and hangs" in str(found[first].detail)
    assert {found[each].outcome for each in behind} == {AttemptOutcome.INTERRUPTED}
    assert {each.ref for each in say()} == {first, *behind}, "the worker is told to drop them"


def test_a_second_worker_with_the_same_attempt_is_told_to_stop(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    batch = sent_batches(farm.database)[0]
    alive(farm.database, farm.policy, heartbeat(batch, "first"))
    stale = alive(farm.database, farm.policy, heartbeat(batch, "second"))
    assert stale == [Stale(order.ref, "second") for order in batch.orders]
    assert {row.worker for row in farm.reproductions() if row.worker} == {"first"}


@ON_BOTH
def test_who_runs_an_attempt_of_which_the_database_lost_all_is_told_to_stop_also_if_it_is_the_first_to_say_so(
    farm: ControlPlane,
) -> None:
    dispatch(farm.database, farm.policy)
    lost = sent_batches(farm.database)
    with farm.database.transaction() as session:
        # As after a failover of PostgreSQL to a standby that was a moment behind: none of that was ever sent.
        session.execute(delete(Attempt))
        session.execute(delete(OutboxRow))
        queued = {"state": ReproductionState.QUEUED, "attempt": 0, "batch_id": None, "lease_until": None}
        session.execute(update(Reproduction).values(queued))
    dispatch(farm.database, farm.policy)
    again = sent_batches(farm.database)
    assert {order.ref for batch in lost for order in batch.orders} == {
        order.ref for batch in again for order in batch.orders
    }
    for batch in lost:
        stale = alive(farm.database, farm.policy, heartbeat(batch, "first"))
        assert stale == [Stale(order.ref, "first") for order in batch.orders]
    for batch in again:
        assert alive(farm.database, farm.policy, heartbeat(batch, "second")) == []
    assert {row.worker for row in farm.reproductions()} == {"second"}


def test_a_heartbeat_about_an_unknown_reproduction_is_answered_with_stop(farm: ControlPlane) -> None:
    ref = AttemptRef(reproduction_id="never-heard-of", attempt=1)
    message = AttemptsAlive(worker="w", batch_id="b", pool="cpu", progress=(Progress(ref=ref, stage=Stage.RUNNING),))
    assert alive(farm.database, farm.policy, message) == [Stale(ref, "w")]


def test_a_silent_worker_loses_its_lease_and_the_next_attempt_is_fenced(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    batch = sent_batches(farm.database)[0]
    alive(farm.database, farm.policy, heartbeat(batch, "gone"))
    expire_leases(farm)
    reap_with_all_queued(farm)
    let_back_off_pass(farm)
    dispatch(farm.database, farm.policy)
    again = sent_batches(farm.database)[-1]
    assert {order.ref.attempt for order in again.orders} == {2}
    assert [order.alone for order in (*batch.orders, *again.orders)] == [False, False, True, True]
    # The old worker wakes up: its heartbeat renews nothing, and it hears so.
    assert len(alive(farm.database, farm.policy, heartbeat(batch, "gone"))) == len(batch.orders)
    assert alive(farm.database, farm.policy, heartbeat(again, "new")) == []


@ON_BOTH
@pytest.mark.parametrize("goes_on", [True, False])
def test_an_attempt_that_was_spared_and_went_on_is_lost_when_its_worker_dies_later(
    farm: ControlPlane, *, goes_on: bool
) -> None:
    dispatch(farm.database, farm.policy)
    batch = sent_batches(farm.database)[0]
    (run_id, *_) = [order.ref.reproduction_id for order in batch.orders]

    def run() -> Reproduction:
        with farm.database.reading() as session:
            return session.get_one(Reproduction, run_id)

    alive(farm.database, farm.policy, heartbeat(batch, "w"))
    said = run().reason
    with farm.database.transaction() as session:
        held = now() - timedelta(seconds=farm.policy.run.lease_seconds + 1)
        session.execute(update(Reproduction).where(Reproduction.worker == "w").values(lease_until=held))
    reap_with_all_queued(farm)
    assert (run().state, heartbeats.AWAITED in run().reason) == (ReproductionState.RUNNING, True)
    if goes_on:
        alive(farm.database, farm.policy, heartbeat(batch, "w"))
        assert run().reason == said
    expire_leases(farm)
    reap_with_all_queued(farm)
    with farm.database.reading() as session:
        ended = session.get_one(Attempt, (run_id, 1)).outcome
    assert ended == (AttemptOutcome.LOST if goes_on else AttemptOutcome.INTERRUPTED)


def test_a_message_that_the_broker_lost_is_sent_again_and_costs_no_attempt(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    assert outbox.relay(farm.database, lambda **_: None) == 2
    expire_leases(farm)
    assert reap(farm.database, farm.policy, *EMPTY_QUEUES) == 4
    dispatch(farm.database, farm.policy)
    assert len(sent_batches(farm.database)) == 4
    assert {(row.attempt, row.failures) for row in farm.reproductions()} == {(2, 0)}
    assert ends(farm) == [AttemptOutcome.INTERRUPTED] * 4 + [None] * 4, "what nobody took has ended all the same"


@pytest.mark.parametrize("unseen", [timedelta(seconds=2), patience(RunRules()) - timedelta(seconds=1)])
def test_what_a_worker_took_a_moment_ago_is_not_lost_before_it_can_say_so(
    farm: ControlPlane, unseen: timedelta
) -> None:
    dispatch(farm.database, farm.policy)
    outbox.relay(farm.database, lambda **_: None)
    # It waited for longer than a lease, and is in the queue no more as the reaper looks: it was when it looked last.
    with farm.database.transaction() as session:
        session.add(Marker(name=REAPER_LOOKED, at=now() - unseen))
    set_leases(farm, 1 - unseen.total_seconds())
    assert reap(farm.database, farm.policy, *EMPTY_QUEUES) == 0
    for batch in sent_batches(farm.database):
        assert alive(farm.database, farm.policy, heartbeat(batch, "w")) == []
    assert {(each.state, each.attempt) for each in farm.reproductions()} == {(ReproductionState.RUNNING, 1)}


@ON_BOTH
def test_what_a_worker_takes_and_says_nothing_of_is_sent_ever_more_seldom_and_not_for_ever(farm: ControlPlane) -> None:
    def sent_in_vain() -> Reproduction:
        # As one of another version takes it, which cannot read it.
        let_back_off_pass(farm)
        dispatch(farm.database, farm.policy)
        outbox.relay(farm.database, lambda **_: None)
        expire_leases(farm)
        assert reap(farm.database, farm.policy, *EMPTY_QUEUES) == 4
        return farm.reproductions()[0]

    pauses = []
    for _ in range(4):
        row = sent_in_vain()
        pauses.append(round((row.not_before - row.since).total_seconds()) if row.not_before else 0)
        assert (row.state, row.failures) == (ReproductionState.QUEUED, 0)
    assert pauses == [0, 10, 20, 40]
    with farm.database.transaction() as session:
        long_ago = now() - timedelta(seconds=farm.policy.run.queue_seconds + 1)
        session.execute(update(Attempt).where(Attempt.number == 1).values(dispatched_at=long_ago))
    assert sent_in_vain().state == ReproductionState.FAILED
    reasons = {claim.reason for claim in farm.claims()}
    assert len(reasons) == 1
    assert "failed: no worker of pool cpu began it, so for 604800 s and 5 attempts" in reasons.pop()


def test_a_message_that_still_waits_in_the_broker_is_left_alone(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    expire_leases(farm)
    waiting = {batch.batch_id for batch in sent_batches(farm.database)}
    assert reap(farm.database, farm.policy, lambda _queue: waiting, nothing_withdrawn) == 0
    assert {row.state for row in farm.reproductions()} == {ReproductionState.DISPATCHED}


def die_over(farm: ControlPlane, batch: RunBatch, worker: str, *stages: Stage) -> None:
    """Have a worker take a batch, come as far as these stages with its orders, and die."""
    progress = tuple(
        Progress(ref=order.ref, stage=stage, log_tail=f"last words on {worker}" if stage is Stage.RUNNING else None)
        for order, stage in zip(batch.orders, stages, strict=True)
    )
    alive(
        farm.database,
        farm.policy,
        AttemptsAlive(worker=worker, batch_id=batch.batch_id, pool="cpu", progress=progress),
    )
    expire_leases(farm)
    reap_with_all_queued(farm)
    if Stage.STORING in stages:
        # Its report is given some time to be taken in.
        expire_leases(farm)
        reap_with_all_queued(farm)
    let_back_off_pass(farm)
    dispatch(farm.database, farm.policy)


def last_batch_of(farm: ControlPlane, model_id: str) -> RunBatch:
    return [batch for batch in sent_batches(farm.database) if batch.model.model_id == model_id][-1]


@ON_BOTH
def test_what_killed_two_workers_is_quarantined_and_what_waited_behind_it_is_not(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    killer, innocent = (order.ref.reproduction_id for order in last_batch_of(farm, "tiny/one").orders)
    die_over(farm, last_batch_of(farm, "tiny/one"), "w1", Stage.RUNNING, Stage.WAITING)
    assert {row.state for row in farm.reproductions()} == {ReproductionState.DISPATCHED}
    die_over(farm, last_batch_of(farm, "tiny/one"), "w2", Stage.RUNNING, Stage.WAITING)
    rows = {row.reproduction_id: row for row in farm.reproductions()}
    assert rows[killer].state == ReproductionState.FAILED
    assert (rows[innocent].state, rows[innocent].failures) == (ReproductionState.DISPATCHED, 0)
    (claim,) = [claim for claim in farm.claims() if claim.reproduction_id == killer]
    assert claim.state == ClaimState.DECIDED
    assert "failed: given up: it was running when 2 workers died (attempt 1 on w1, attempt 2 on w2)" in claim.reason
    assert "last words on w2" in claim.reason
    assert [order.ref.reproduction_id for order in last_batch_of(farm, "tiny/one").orders] == [innocent]


def test_losing_workers_while_they_fetch_is_no_quarantine_but_ends_too(farm: ControlPlane) -> None:
    for n in range(farm.policy.run.attempts):
        dispatch(farm.database, farm.policy)
        die_over(farm, last_batch_of(farm, "tiny/one"), f"w{n}", Stage.FETCHING, Stage.FETCHING)
    reasons = {claim.reason for claim in farm.claims() if claim.model_id == "tiny/one"}
    assert reasons == {"failed: lost: worker w2 has not been heard of for 30 s"}


def test_a_report_that_the_broker_lost_is_nobodys_death_and_costs_no_attempt(farm: ControlPlane) -> None:
    for n in range(max(farm.policy.run.worker_deaths, farm.policy.run.attempts)):
        dispatch(farm.database, farm.policy)
        die_over(farm, last_batch_of(farm, "tiny/one"), f"w{n}", Stage.STORING, Stage.STORING)
    rows = [row for row in farm.reproductions() if row.model_id == "tiny/one"]
    # Sent out once more, and none of its tries is used up.
    assert {(row.state, row.failures) for row in rows} == {(ReproductionState.DISPATCHED, 0)}


def test_what_got_lost_while_the_control_plane_was_away_too_costs_no_attempt(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    for batch in sent_batches(farm.database):
        alive(farm.database, farm.policy, heartbeat(batch, "w1"))
    with farm.database.transaction() as session:
        long_ago = now() - timedelta(seconds=farm.policy.run.lease_seconds + 1)
        session.execute(update(Reproduction).values(lease_until=long_ago))
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    assert {row.state for row in farm.reproductions()} == {ReproductionState.RUNNING}, "somebody may have held its row"
    expire_leases(farm)
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    assert {(row.state, row.failures) for row in farm.reproductions()} == {(ReproductionState.QUEUED, 0)}
    assert all("the control plane was away too" in row.reason for row in farm.reproductions())


@ON_BOTH
def test_what_ran_when_the_database_was_backed_up_is_no_death_once_that_is_restored(farm: ControlPlane) -> None:
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    dispatch(farm.database, farm.policy)
    for batch in sent_batches(farm.database):
        alive(farm.database, farm.policy, heartbeat(batch, "w1"))
    yesterday = now() - timedelta(days=1)
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(lease_until=yesterday))
        session.execute(update(Attempt).values(alive_at=yesterday, stage=Stage.RUNNING))
        session.execute(update(Marker).values(at=yesterday))
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    assert {row.state for row in farm.reproductions()} == {ReproductionState.RUNNING}, "its worker may still be there"
    expire_leases(farm)
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    assert {(row.state, row.failures) for row in farm.reproductions()} == {(ReproductionState.QUEUED, 0)}
    said = f"worker w1 was last heard of at {yesterday:%Y-%m-%d %H:%M:%S} UTC, and then the farm was down"
    assert all(said in row.reason for row in farm.reproductions())


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_row_that_somebody_holds_keeps_no_lease_of_others_from_being_renewed(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "ROW_SECONDS", 0.1)
    dispatch(farm.database, farm.policy)
    batch = sent_batches(farm.database)[0]
    held, other = (order.ref.reproduction_id for order in batch.orders)
    with farm.database.transaction() as frozen:
        frozen.get_one(Reproduction, held, with_for_update=True)
        assert alive(farm.database, farm.policy, heartbeat(batch, "w1")) == [], "nothing is known of the held one"
    states = {row.reproduction_id: row.state for row in farm.reproductions()}
    assert (states[held], states[other]) == (ReproductionState.DISPATCHED, ReproductionState.RUNNING)


@ON_BOTH
def test_what_no_claim_needs_any_more_is_cancelled_and_its_worker_told(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    batch = next(b for b in sent_batches(farm.database) if b.model.model_id == "tiny/one")
    alive(farm.database, farm.policy, heartbeat(batch, "w1"))
    hub = farm.served.local
    submit(hub, RepoName(RepoType.MODEL, "tiny/one"), entry("acme/bench", 50, task="task0"))
    farm.scan()
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    stale = alive(farm.database, farm.policy, heartbeat(batch, "w1"))
    assert len(stale) == 1
    cancelled = [row for row in farm.reproductions() if row.state == ReproductionState.CANCELLED]
    assert [row.task_id for row in cancelled] == ["task1"]
    assert ends(farm).count(AttemptOutcome.CANCELLED) == 1


@ON_BOTH
@pytest.mark.parametrize(("gone", "set_aside"), [(False, False), (True, False), (True, True)])
def test_what_no_worker_took_in_time_fails_and_says_who_must_act(
    farm: ControlPlane, gone: bool, set_aside: bool
) -> None:
    # What was set aside is looked at again, but in no pool that policy has no more.
    long_ago = now() - timedelta(seconds=farm.policy.run.queue_seconds + 1)
    pool = "closed" if gone else "cpu"
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(since=long_ago, pool=pool, set_aside=set_aside))
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    assert {row.state for row in farm.reproductions()} == {ReproductionState.FAILED}
    reasons = {claim.reason for claim in farm.claims()}
    left = ", which is not in the farm's policy any more," if gone else ""
    assert reasons == {f"failed: no worker of pool {pool}{left} took it within 604800 s; the farm's operator must act"}


def test_what_waits_for_its_next_attempt_is_not_given_up(farm: ControlPlane) -> None:
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    assert {row.state for row in farm.reproductions()} == {ReproductionState.QUEUED}


def test_after_the_control_plane_was_away_workers_get_a_leases_time_to_say_that_they_work(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    for batch in sent_batches(farm.database):
        alive(farm.database, farm.policy, heartbeat(batch, "worker-1"))
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    long_ago = now() - timedelta(hours=1)
    with farm.database.transaction() as session:
        session.execute(update(Marker).where(Marker.name == REAPER_LOOKED).values(at=long_ago))
    expire_leases(farm)
    assert reap(farm.database, farm.policy, *EMPTY_QUEUES) == 0
    assert {each.state for each in farm.reproductions()} == {ReproductionState.RUNNING}
    assert all(each.lease_until is not None and each.lease_until > now() for each in farm.reproductions())
    # Who says nothing in that time is lost after all.
    expire_leases(farm)
    assert reap(farm.database, farm.policy, *EMPTY_QUEUES) == 4


def test_a_worker_that_was_told_to_speak_more_seldom_is_not_lost_where_policy_wants_it_oftener_now(
    farm: ControlPlane,
) -> None:
    dispatch(farm.database, farm.policy)
    seldom = 2 * farm.policy.run.lease_seconds
    for batch in sent_batches(farm.database):
        word = heartbeat(batch, "w1").model_copy(update={"every_seconds": seldom})
        assert alive(farm.database, farm.policy, word) == []
    # The control plane is started anew to read another policy, and takes longer than a lease.
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    with farm.database.transaction() as session:
        long_ago = now() - timedelta(hours=1)
        session.execute(update(Marker).where(Marker.name == REAPER_LOOKED).values(at=long_ago))
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    assert all(
        each.lease_until and each.lease_until > now() + timedelta(seconds=seldom) for each in farm.reproductions()
    )


def test_what_workers_took_while_the_control_plane_was_away_is_not_taken_for_lost_before_they_say_so(
    farm: ControlPlane,
) -> None:
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    dispatch(farm.database, farm.policy)
    outbox.relay(farm.database, lambda **_message: None)
    long_ago = now() - timedelta(hours=1)
    with farm.database.transaction() as session:
        session.execute(update(Marker).where(Marker.name == REAPER_LOOKED).values(at=long_ago))
    expire_leases(farm)
    # The broker has no message any more, and the heartbeats came while the database was away.
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    for batch in sent_batches(farm.database):
        assert alive(farm.database, farm.policy, heartbeat(batch, "worker-1")) == []
    assert {(each.state, each.attempt) for each in farm.reproductions()} == {(ReproductionState.RUNNING, 1)}
