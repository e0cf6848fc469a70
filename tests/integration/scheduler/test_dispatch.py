"""From planned claims to messages, and what happens when messages or workers get lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from deploy.localhub.names import RepoName, RepoType
from scheduler.collect.collecting import Stale, alive
from scheduler.collect.reaping import reap
from scheduler.database.tables import Attempt, Marker, Reproduction, now
from scheduler.database.tables.marker import REAPER_LOOKED
from scheduler.dispatch import dispatching
from scheduler.dispatch.batching import COMMON_AHEAD
from scheduler.dispatch.dispatching import dispatch
from scheduler.messaging import outbox
from scheduler.state_machine import ClaimState, ReproductionState
from specs.messages import AttemptOutcome, AttemptRef, AttemptsAlive, Progress, RunBatch, Stage
from tests.support.databases import Databases
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.scheduler import ControlPlane, control_plane, control_plane_like
from tests.support.sent_batches import heartbeat, sent_batches

TASKS = """\
evaluation_framework: inspect-ai
tasks:
""" + "".join(
    f"""\
  - id: task{n}
    field_spec: {{input: question, target: answer}}
    solvers: [{{name: generate}}]
    scorers: [{{name: includes}}]
"""
    for n in range(3)
)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Path:
    """The folder of a farm that has planned; each test has a copy."""
    folder = tmp_path_factory.mktemp("planned")
    with control_plane(folder, databases) as plane:
        hub = plane.served.local
        add_benchmark(hub, "acme/bench", TASKS)
        for name in ("one", "two"):
            model = add_model(hub, f"tiny/{name}", name.encode())
            submit(hub, model, entry("acme/bench", 50, task="task0") + entry("acme/bench", 60, task="task1"))
        plane.scan()
        plane.plan()
    return folder


@pytest.fixture
def farm(planned: Path, tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    """Two models with claims on two tasks each, found and planned."""
    with control_plane_like(planned, tmp_path, databases) as plane:
        yield plane


def reproductions(farm: ControlPlane) -> list[Reproduction]:
    with farm.database.reading() as session:
        return list(session.scalars(select(Reproduction).order_by(Reproduction.created_at)))


def ends(farm: ControlPlane) -> list[str | None]:
    """How the attempts ended, the first ones first."""
    with farm.database.reading() as session:
        return list(session.scalars(select(Attempt.outcome).order_by(Attempt.number)))


def expire_leases(farm: ControlPlane) -> None:
    """Let every lease run out, without waiting for it."""
    with farm.database.transaction() as session:
        session.execute(
            update(Reproduction)
            .where(Reproduction.lease_until.is_not(None))
            .values(lease_until=now() - timedelta(seconds=1))
        )


def let_back_off_pass(farm: ControlPlane) -> None:
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(not_before=None))


def nothing_queued(_queue: str) -> set[str]:
    return set()


def test_reproductions_of_one_model_travel_together(farm: ControlPlane) -> None:
    assert dispatch(farm.database, farm.policy) == 2
    one, two = sent_batches(farm.database)
    assert {one.model.model_id, two.model.model_id} == {"tiny/one", "tiny/two"}
    assert [len(batch.orders) for batch in (one, two)] == [2, 2]
    assert {row.state for row in reproductions(farm)} == {ReproductionState.DISPATCHED}


def test_what_is_too_much_for_one_message_travels_in_several(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatching, "STOPPING_BYTES", 1)
    dispatch(farm.database, farm.policy)
    assert [len(batch.orders) for batch in sent_batches(farm.database)] == [1, 1]
    waiting = [row for row in reproductions(farm) if row.state == ReproductionState.QUEUED]
    assert [row.attempt for row in waiting] == [0, 0], "nothing was lost, and no attempt used up"


def test_only_a_few_batches_wait_in_the_broker(farm: ControlPlane) -> None:
    hub = farm.served.local
    for n in range(5):
        submit(hub, add_model(hub, f"more/model{n}", str(n).encode()), entry("acme/bench", 50, task="task0"))
    farm.scan()
    farm.plan()
    dispatch(farm.database, farm.policy)
    assert len(sent_batches(farm.database)) == COMMON_AHEAD
    alive(farm.database, farm.policy, heartbeat(sent_batches(farm.database)[0], "w1"))
    dispatch(farm.database, farm.policy)
    assert len(sent_batches(farm.database)) == COMMON_AHEAD + 1


def test_where_batches_are_over_at_once_as_many_wait_and_are_sent_when_half_of_them_are_gone(
    farm: ControlPlane,
) -> None:
    hub = farm.served.local
    for n in range(12):
        submit(hub, add_model(hub, f"more/model{n}", str(n).encode()), entry("acme/bench", 50, task="task0"))
    farm.scan()
    farm.plan()
    sent = []
    for lately in (0, 2, 4):
        # What ended in the last moments, the batches before and those of now.
        complete(farm, lately)
        sent.append(dispatch(farm.database, farm.policy))
    assert sent == [2, 2, 4]
    complete(farm, 5)
    assert dispatch(farm.database, farm.policy) == 0, "three of five are still there"
    complete(farm, 6)
    assert dispatch(farm.database, farm.policy) == 4, "two of six are"


def complete(farm: ControlPlane, count: int) -> None:
    """Have the first so many batches completed, as their workers' reports would; just now, however slow this is."""
    with farm.database.transaction() as session:
        first = [message.batch_id for message in sent_batches(farm.database)[:count]]
        session.execute(
            update(Attempt)
            .where(Attempt.batch_id.in_(first))
            .values(ended_at=now() + timedelta(minutes=1), outcome=AttemptOutcome.COMPLETED)
        )
        session.execute(
            update(Reproduction).where(Reproduction.batch_id.in_(first)).values(state=ReproductionState.COMPLETED)
        )


def test_claims_on_the_same_task_share_a_reproduction(farm: ControlPlane) -> None:
    hub = farm.served.local
    model = add_model(hub, "tiny/three")
    submit(hub, model, entry("acme/bench", 50, task="task2"))
    submit(hub, model, entry("acme/bench", 90, task="task2"), author="other", create_pr=True, name="more.yaml")
    farm.scan()
    farm.plan()
    mine = [claim for claim in farm.claims() if claim.model_id == "tiny/three"]
    assert [claim.state for claim in mine] == [ClaimState.PLANNED, ClaimState.PLANNED]
    assert len({claim.reproduction_id for claim in mine}) == 1


def test_a_heartbeat_takes_the_lease_and_shows_progress(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    batch = sent_batches(farm.database)[0]
    assert alive(farm.database, farm.policy, heartbeat(batch, "w1")) == []
    running = [row for row in reproductions(farm) if row.state == ReproductionState.RUNNING]
    assert {row.worker for row in running} == {"w1"}
    assert len(running) == len(batch.orders)
    with farm.database.reading() as session:
        attempt = session.get_one(Attempt, (running[0].reproduction_id, 1))
    assert (attempt.worker, attempt.stage, attempt.samples_done) == ("w1", "running", 1)


def test_storing_a_log_takes_no_progress_back(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    batch = sent_batches(farm.database)[0]
    for progress in (
        Progress(ref=batch.orders[0].ref, stage=Stage.RUNNING, samples_done=64, samples_total=150, score=0.5),
        Progress(ref=batch.orders[0].ref, stage=Stage.STORING),
    ):
        message = AttemptsAlive(worker="w1", batch_id=batch.batch_id, pool="cpu", progress=(progress,))
        alive(farm.database, farm.policy, message)
    with farm.database.reading() as session:
        attempt = session.get_one(Attempt, (batch.orders[0].ref.reproduction_id, 1))
        found = attempt.stage, attempt.samples_done, attempt.samples_total, attempt.score
    assert found == (Stage.STORING, 64, 150, 0.5)


def test_a_second_worker_with_the_same_attempt_is_told_to_stop(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    batch = sent_batches(farm.database)[0]
    alive(farm.database, farm.policy, heartbeat(batch, "first"))
    stale = alive(farm.database, farm.policy, heartbeat(batch, "second"))
    assert stale == [Stale(order.ref, "second") for order in batch.orders]
    assert {row.worker for row in reproductions(farm) if row.worker} == {"first"}


def test_a_silent_worker_loses_its_lease_and_the_next_attempt_is_fenced(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    batch = sent_batches(farm.database)[0]
    alive(farm.database, farm.policy, heartbeat(batch, "gone"))
    expire_leases(farm)
    reap(farm.database, farm.policy, lambda _queue: {b.batch_id for b in sent_batches(farm.database)})
    let_back_off_pass(farm)
    dispatch(farm.database, farm.policy)
    again = sent_batches(farm.database)[-1]
    assert {order.ref.attempt for order in again.orders} == {2}
    assert [order.alone for order in (*batch.orders, *again.orders)] == [False, False, True, True]
    # The old worker wakes up: its heartbeat renews nothing, and it hears so.
    assert len(alive(farm.database, farm.policy, heartbeat(batch, "gone"))) == len(batch.orders)
    assert alive(farm.database, farm.policy, heartbeat(again, "new")) == []


def test_a_message_that_the_broker_lost_is_sent_again_and_costs_no_attempt(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    assert outbox.relay(farm.database, lambda **_: None) == 2
    expire_leases(farm)
    assert reap(farm.database, farm.policy, nothing_queued) == 4
    dispatch(farm.database, farm.policy)
    assert len(sent_batches(farm.database)) == 4
    assert {(row.attempt, row.failures) for row in reproductions(farm)} == {(2, 0)}
    assert ends(farm) == [AttemptOutcome.INTERRUPTED] * 4 + [None] * 4, "what nobody took has ended all the same"


def test_a_message_that_still_waits_in_the_broker_is_left_alone(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    expire_leases(farm)
    waiting = {batch.batch_id for batch in sent_batches(farm.database)}
    assert reap(farm.database, farm.policy, lambda _queue: waiting) == 0
    assert {row.state for row in reproductions(farm)} == {ReproductionState.DISPATCHED}


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
    reap(farm.database, farm.policy, lambda _queue: {each.batch_id for each in sent_batches(farm.database)})
    let_back_off_pass(farm)
    dispatch(farm.database, farm.policy)


def last_batch_of(farm: ControlPlane, model_id: str) -> RunBatch:
    return [batch for batch in sent_batches(farm.database) if batch.model.model_id == model_id][-1]


def test_what_killed_two_workers_is_quarantined_and_what_waited_behind_it_is_not(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    killer, innocent = (order.ref.reproduction_id for order in last_batch_of(farm, "tiny/one").orders)
    die_over(farm, last_batch_of(farm, "tiny/one"), "w1", Stage.RUNNING, Stage.WAITING)
    assert {row.state for row in reproductions(farm)} == {ReproductionState.DISPATCHED}
    die_over(farm, last_batch_of(farm, "tiny/one"), "w2", Stage.RUNNING, Stage.WAITING)
    rows = {row.reproduction_id: row for row in reproductions(farm)}
    assert rows[killer].state == ReproductionState.FAILED
    assert (rows[innocent].state, rows[innocent].failures) == (ReproductionState.DISPATCHED, 0)
    (claim,) = [claim for claim in farm.claims() if claim.reproduction_id == killer]
    assert claim.state == ClaimState.DECIDED
    assert "failed: quarantined: it was running when 2 workers died (attempt 1 on w1, attempt 2 on w2)" in claim.reason
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
    rows = [row for row in reproductions(farm) if row.model_id == "tiny/one"]
    # Sent out once more, and none of its tries is used up.
    assert {(row.state, row.failures) for row in rows} == {(ReproductionState.DISPATCHED, 0)}


def test_what_got_lost_while_the_control_plane_was_away_too_costs_no_attempt(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    for batch in sent_batches(farm.database):
        alive(farm.database, farm.policy, heartbeat(batch, "w1"))
    with farm.database.transaction() as session:
        long_ago = now() - timedelta(seconds=farm.policy.run.lease_seconds + 1)
        session.execute(update(Reproduction).values(lease_until=long_ago))
    reap(farm.database, farm.policy, nothing_queued)
    assert {(row.state, row.failures) for row in reproductions(farm)} == {(ReproductionState.QUEUED, 0)}
    assert all("the control plane was away too" in row.reason for row in reproductions(farm))


def test_what_no_claim_needs_any_more_is_cancelled_and_its_worker_told(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    batch = next(b for b in sent_batches(farm.database) if b.model.model_id == "tiny/one")
    alive(farm.database, farm.policy, heartbeat(batch, "w1"))
    hub = farm.served.local
    submit(hub, RepoName(RepoType.MODEL, "tiny/one"), entry("acme/bench", 50, task="task0"))
    farm.scan()
    reap(farm.database, farm.policy, nothing_queued)
    stale = alive(farm.database, farm.policy, heartbeat(batch, "w1"))
    assert len(stale) == 1
    cancelled = [row for row in reproductions(farm) if row.state == ReproductionState.CANCELLED]
    assert [row.task_id for row in cancelled] == ["task1"]
    assert ends(farm).count(AttemptOutcome.CANCELLED) == 1


def test_nothing_is_sent_that_was_not_committed(farm: ControlPlane) -> None:
    def dies() -> None:
        with farm.database.transaction() as session:
            outbox.put(session, queue="q", task="t", body={})
            raise InterruptedError

    with pytest.raises(InterruptedError):
        dies()
    sent: list[str] = []
    outbox.relay(farm.database, lambda **message: sent.append(message["task"]))
    assert sent == []


def test_a_broker_that_is_down_gets_the_message_when_it_is_back(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)

    def down(**_message: object) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        outbox.relay(farm.database, down)
    sent: list[str] = []
    outbox.relay(farm.database, lambda **message: sent.append(message["message_id"]))
    assert sent == [batch.batch_id for batch in sent_batches(farm.database)]
    outbox.relay(farm.database, lambda **message: sent.append(message["message_id"]))
    assert len(sent) == 2, "what was sent is not sent again"


def test_a_heartbeat_about_an_unknown_reproduction_is_answered_with_stop(farm: ControlPlane) -> None:
    ref = AttemptRef(reproduction_id="never-heard-of", attempt=1)
    message = AttemptsAlive(worker="w", batch_id="b", pool="cpu", progress=(Progress(ref=ref, stage=Stage.RUNNING),))
    assert alive(farm.database, farm.policy, message) == [Stale(ref, "w")]


@pytest.mark.parametrize("gone", [False, True])
def test_what_no_worker_took_in_time_fails_and_says_who_must_act(farm: ControlPlane, gone: bool) -> None:
    long_ago = now() - timedelta(seconds=farm.policy.run.queue_seconds + 1)
    pool = "closed" if gone else "cpu"
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(since=long_ago, pool=pool))
    reap(farm.database, farm.policy, nothing_queued)
    assert {row.state for row in reproductions(farm)} == {ReproductionState.FAILED}
    reasons = {claim.reason for claim in farm.claims()}
    left = ", which is not in the farm's policy any more," if gone else ""
    assert reasons == {f"failed: no worker of pool {pool}{left} took it within 604800 s; the farm's operator must act"}


def test_what_waits_for_its_next_attempt_is_not_given_up(farm: ControlPlane) -> None:
    reap(farm.database, farm.policy, nothing_queued)
    assert {row.state for row in reproductions(farm)} == {ReproductionState.QUEUED}


def test_after_the_control_plane_was_away_workers_get_a_leases_time_to_say_that_they_work(farm: ControlPlane) -> None:
    dispatch(farm.database, farm.policy)
    for batch in sent_batches(farm.database):
        alive(farm.database, farm.policy, heartbeat(batch, "worker-1"))
    reap(farm.database, farm.policy, nothing_queued)
    long_ago = now() - timedelta(hours=1)
    with farm.database.transaction() as session:
        session.execute(update(Marker).where(Marker.name == REAPER_LOOKED).values(held_until=long_ago))
    expire_leases(farm)
    assert reap(farm.database, farm.policy, nothing_queued) == 0
    assert {each.state for each in reproductions(farm)} == {ReproductionState.RUNNING}
    assert all(each.lease_until is not None and each.lease_until > now() for each in reproductions(farm))
    # Who says nothing in that time is lost after all.
    expire_leases(farm)
    assert reap(farm.database, farm.policy, nothing_queued) == 4


def test_what_workers_took_while_the_control_plane_was_away_is_not_taken_for_lost_before_they_say_so(
    farm: ControlPlane,
) -> None:
    reap(farm.database, farm.policy, nothing_queued)
    dispatch(farm.database, farm.policy)
    outbox.relay(farm.database, lambda **_message: None)
    long_ago = now() - timedelta(hours=1)
    with farm.database.transaction() as session:
        session.execute(update(Marker).where(Marker.name == REAPER_LOOKED).values(held_until=long_ago))
    expire_leases(farm)
    # The broker has no message any more, and the heartbeats came while the database was away.
    reap(farm.database, farm.policy, nothing_queued)
    for batch in sent_batches(farm.database):
        assert alive(farm.database, farm.policy, heartbeat(batch, "worker-1")) == []
    assert {(each.state, each.attempt) for each in reproductions(farm)} == {(ReproductionState.RUNNING, 1)}
