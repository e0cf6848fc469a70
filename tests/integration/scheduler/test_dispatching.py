"""From planned claims to messages for workers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from scheduler.collect.heartbeats import alive
from scheduler.database.tables import Attempt, Reproduction, now
from scheduler.dispatch import dispatcher
from scheduler.dispatch.assignment import COMMON_AHEAD
from scheduler.dispatch.dispatcher import dispatch
from scheduler.messaging import outbox
from scheduler.state_machine import ClaimState, ReproductionState
from specs.messages import AttemptOutcome, AttemptsAlive, Progress, Stage
from tests.support.databases import ON_BOTH, Databases, mostly_sqlite
from tests.support.hub_content import add_model, entry, submit
from tests.support.scheduler import ControlPlane, control_plane_like
from tests.support.sent_batches import heartbeat, sent_batches

databases = mostly_sqlite


@pytest.fixture
def farm(two_models: Path, tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    """Two models with claims on two tasks each, found and planned."""
    with control_plane_like(two_models, tmp_path, databases) as plane:
        yield plane


def test_reproductions_of_one_model_travel_together(farm: ControlPlane) -> None:
    assert dispatch(farm.database, farm.policy) == 2
    one, two = sent_batches(farm.database)
    assert {one.model.model_id, two.model.model_id} == {"tiny/one", "tiny/two"}
    assert [len(batch.orders) for batch in (one, two)] == [2, 2]
    assert {row.state for row in farm.reproductions()} == {ReproductionState.DISPATCHED}


@ON_BOTH
def test_what_is_too_much_for_one_message_travels_in_several(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "STOPPING_BYTES", 1)
    dispatch(farm.database, farm.policy)
    assert [len(batch.orders) for batch in sent_batches(farm.database)] == [1, 1]
    waiting = [row for row in farm.reproductions() if row.state == ReproductionState.QUEUED]
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


def test_the_first_batches_go_to_the_broker_before_the_last_are_put_together(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "SENT_TOGETHER", 1)
    there: list[int] = []
    dispatch(farm.database, farm.policy, lambda: there.append(len(sent_batches(farm.database))))
    assert there == [1, 2], "committed by then, each"


@ON_BOTH
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
    running = [row for row in farm.reproductions() if row.state == ReproductionState.RUNNING]
    assert {row.worker for row in running} == {"w1"}
    assert len(running) == len(batch.orders)
    with farm.database.reading() as session:
        attempt = session.get_one(Attempt, (running[0].reproduction_id, 1))
    assert (attempt.worker, attempt.stage, attempt.samples_done) == ("w1", "running", 1)


@ON_BOTH
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
