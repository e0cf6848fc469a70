"""Several control workers at once: nothing is done twice, and nothing is left undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import cycle

from sqlalchemy import select, update

from scheduler.collect.heartbeats import alive
from scheduler.database.tables import Attempt, Claim, Reproduction, now
from scheduler.dispatch.dispatcher import dispatch
from scheduler.reaping.reaper import reap
from scheduler.state_machine import ClaimState, ReproductionState
from specs.policy.pools import PoolRules
from specs.policy.rules import Policy
from tests.support.databases import at_once
from tests.support.hub_content import EVAL_YAML, add_benchmark, add_model, entry, submit
from tests.support.queues import EMPTY_QUEUES
from tests.support.rows import Rows
from tests.support.scheduler import ControlPlane, empty_farm
from tests.support.sent_batches import heartbeat, sent_batches

POOLS = tuple(PoolRules(name=f"pool{n}", device="cpu", gpus=0, memory_gib=80) for n in range(24))

farm = empty_farm


def queued(farm: ControlPlane) -> None:
    """One queued reproduction with its claim in each of the pools."""
    farm.policy = Policy(pools=POOLS)
    rows = Rows(farm.database)
    for pool in POOLS:
        rows.sendable(f"tiny/{pool.name}", pool=pool.name)


def test_what_several_dispatchers_send_is_sent_once(farm: ControlPlane) -> None:
    queued(farm)
    at_once(lambda: dispatch(farm.database, farm.policy))
    sent = Counter(order.ref.reproduction_id for batch in sent_batches(farm.database) for order in batch.orders)
    assert len(sent) == len(POOLS)
    assert set(sent.values()) == {1}
    with farm.database.reading() as session:
        assert {row.attempt for row in session.scalars(select(Reproduction))} == {1}
        assert len(session.scalars(select(Attempt)).all()) == len(POOLS)


def test_a_lost_attempt_is_taken_from_its_worker_once_however_many_reap(farm: ControlPlane) -> None:
    queued(farm)
    dispatch(farm.database, farm.policy)
    for batch in sent_batches(farm.database):
        assert alive(farm.database, farm.policy, heartbeat(batch, "gone")) == []
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(lease_until=now() - timedelta(seconds=1)))
    at_once(lambda: reap(farm.database, farm.policy, *EMPTY_QUEUES))
    with farm.database.reading() as session:
        rows = session.scalars(select(Reproduction)).all()
        assert {(row.state, row.failures) for row in rows} == {(ReproductionState.QUEUED, 1)}
        assert {each.outcome for each in session.scalars(select(Attempt))} == {"lost"}


def test_claims_that_several_planners_meet_over_share_one_reproduction(farm: ControlPlane) -> None:
    hub = farm.served.local
    add_benchmark(hub, "acme/capitals", EVAL_YAML)
    model = add_model(hub, "tiny/model")
    for n in range(6):
        submit(hub, model, entry("acme/capitals", 50 + n), author="fan", create_pr=True, name=f"n{n}.yaml")
    farm.scan()
    at_once(farm.plan)
    # Who came second over the new reproduction leaves its claim for the next round.
    farm.plan()
    claims = farm.claims()
    assert [claim.state for claim in claims] == [ClaimState.PLANNED] * 6
    assert len({claim.reproduction_id for claim in claims}) == 1
    assert len(farm.reproductions()) == 1


def test_a_claim_joins_a_run_before_it_is_sent_or_not_at_all(farm: ControlPlane) -> None:
    hub = farm.served.local
    add_benchmark(hub, "acme/capitals", EVAL_YAML)
    model = add_model(hub, "tiny/model")
    for n in range(8):
        submit(hub, model, entry("acme/capitals", 50 + n), author="fan", create_pr=True, name=f"n{n}.yaml")
    farm.scan()
    works: Iterator[Callable[[], int]] = cycle((farm.plan, lambda: dispatch(farm.database, farm.policy)))

    def plan_or_dispatch() -> None:
        next(works)()

    for _ in range(6):
        at_once(plan_or_dispatch)
    with farm.database.reading() as session:
        claims = session.scalars(select(Claim).where(Claim.state == ClaimState.PLANNED)).all()
        assert len(claims) == 8
        for claim in claims:
            run = claim.reproduction
            assert run is not None
            assert run.stopping is not None
            assert claim.claim_id in {each["claim_id"] for each in run.stopping["claims"]}


def test_one_of_two_workers_gets_the_attempt(farm: ControlPlane) -> None:
    queued(farm)
    dispatch(farm.database, farm.policy)
    (batch, *_) = sent_batches(farm.database)
    told: list[int] = []
    names = iter(["one", "two", "three", "four"])

    def speak() -> None:
        told.append(len(alive(farm.database, farm.policy, heartbeat(batch, next(names)))))

    at_once(speak)
    assert sorted(told) == [0, 1, 1, 1]
    with farm.database.reading() as session:
        assert session.scalars(select(Claim).where(Claim.state != ClaimState.PLANNED)).all() == []
