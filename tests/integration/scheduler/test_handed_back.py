"""Attempts that a worker hands back, as it was told to stop: nobody's failure, and nothing finished is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from scheduler.collect import reports
from scheduler.collect.heartbeats import alive
from scheduler.collect.resuming import IN_A_ROW, not_handed_back
from scheduler.database.tables import Attempt, Event, Reproduction, now
from scheduler.dispatch.dispatcher import dispatch
from scheduler.state_machine import ReproductionState
from specs.measurement import PartialLog, Resumed
from specs.messages import (
    AttemptOutcome,
    Order,
    Report,
    RunBatch,
)
from tests.support.databases import ON_BOTH, Databases, mostly_sqlite
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.scheduler import ControlPlane, control_plane, control_plane_like
from tests.support.sent_batches import heartbeat, sent_batches

SPEC = """\
evaluation_framework: inspect-ai
tasks:
  - id: only
    field_spec: {input: question, target: answer}
    solvers: [{name: generate}]
    scorers: [{name: includes}]
"""
KEPT = PartialLog(sha256="ab" * 32, size_bytes=4000, answers=120)
MORE = PartialLog(sha256="cd" * 32, size_bytes=6000, answers=200)


databases = mostly_sqlite


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Path:
    """The folder of a farm that has planned; each test has a copy."""
    folder = tmp_path_factory.mktemp("planned")
    with control_plane(folder, databases) as plane:
        hub = plane.served.local
        add_benchmark(hub, "acme/bench", SPEC)
        submit(hub, add_model(hub, "tiny/one"), entry("acme/bench", 50, task="only"))
        plane.scan()
        plane.plan()
    return folder


@pytest.fixture
def farm(planned: Path, tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    """One reproduction, sent out."""
    with control_plane_like(planned, tmp_path, databases) as plane:
        yield plane


def sent(farm: ControlPlane) -> tuple[RunBatch, Order]:
    """What is sent out now, taken by a worker."""
    dispatch(farm.database, farm.policy)
    batch = sent_batches(farm.database)[-1]
    (order,) = batch.orders
    assert not alive(farm.database, farm.policy, heartbeat(batch, "w1"))
    return batch, order


def ended(farm: ControlPlane, outcome: AttemptOutcome, detail: str, partial: PartialLog | None = None) -> Order:
    """One attempt from its message to its end; its order."""
    batch, order = sent(farm)
    report = Report(
        ref=order.ref,
        worker="w1",
        model=batch.model,
        task=order.task,
        outcome=outcome,
        detail=detail,
        measurement=None,
        evidence=None,
        partial=partial,
    )
    reports.report(farm.database, farm.policy, "file:///nowhere", report)
    return order


def handed_back(farm: ControlPlane, partial: PartialLog | None = None) -> Order:
    return ended(farm, AttemptOutcome.HANDED_BACK, "it was told to stop; 120 of 300 samples are kept", partial)


def reproduction(farm: ControlPlane) -> Reproduction:
    (found,) = farm.reproductions()
    return found


def resumed_from(farm: ControlPlane) -> str | None:
    order = handed_back(farm)
    return order.resume.sha256 if order.resume is not None else None


def test_what_a_run_had_when_its_judge_went_away_is_gone_on_from_and_it_costs_no_attempt(farm: ControlPlane) -> None:
    ended(farm, AttemptOutcome.JUDGE_AWAY, "the judge (openai/o3-mini) does not answer", KEPT)
    found = reproduction(farm)
    assert (found.state, found.failures) == (ReproductionState.QUEUED, 0)
    assert found.not_before is not None
    assert (found.not_before - found.since).total_seconds() == 10
    with farm.database.transaction() as session:
        session.get_one(Reproduction, found.reproduction_id).not_before = None
    assert resumed_from(farm) == KEPT.sha256


@ON_BOTH
def test_a_judge_that_comes_and_goes_is_tried_ever_more_seldom_and_not_for_ever(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.collect.ending.JUDGE_WENT_AWAY", 3)
    logs = [KEPT.model_copy(update={"answers": 10 * number}) for number in range(1, 5)]
    pauses = []
    for log in logs[:3]:
        ended(farm, AttemptOutcome.JUDGE_AWAY, "the judge does not answer", log)
        found = reproduction(farm)
        assert found.not_before is not None
        pauses.append((found.not_before - found.since).total_seconds())
        with farm.database.transaction() as session:
            session.execute(update(Reproduction).values(not_before=None))
            # A few that get on may take as long as they take.
            long_ago = now() - timedelta(seconds=2 * farm.policy.run.queue_seconds)
            session.execute(update(Attempt).values(dispatched_at=long_ago))
    assert pauses == [10, 20, 40]
    ended(farm, AttemptOutcome.JUDGE_AWAY, "the judge does not answer", logs[3])
    assert reproduction(farm).state == ReproductionState.FAILED
    assert "judge_away: so for 604800 s and 4 attempts: the judge does not answer" in farm.claims()[0].reason


@ON_BOTH
def test_it_is_queued_again_at_once_uses_up_nothing_and_says_why(farm: ControlPlane) -> None:
    handed_back(farm, KEPT)
    found = reproduction(farm)
    assert (found.state, found.failures, found.not_before) == (ReproductionState.QUEUED, 0, None)
    assert found.reason == ("attempt 1 was handed back by worker w1: it was told to stop; 120 of 300 samples are kept")
    with farm.database.reading() as session:
        event = session.scalars(select(Event).where(Event.why == found.reason)).one()
        attempt = session.get_one(Attempt, (found.reproduction_id, 1))
    assert (event.actor, event.what) == ("worker:w1", "queued")
    assert (attempt.outcome, attempt.worker, attempt.partial_answers) == ("handed_back", "w1", 120)


def test_the_next_attempt_is_told_what_to_go_on_from(farm: ControlPlane) -> None:
    first = handed_back(farm, KEPT)
    assert first.resume is None
    second = handed_back(farm, MORE)
    assert second.resume is not None
    assert (second.resume.sha256, second.resume.size_bytes) == (KEPT.sha256, KEPT.size_bytes)
    assert resumed_from(farm) == MORE.sha256
    assert resumed_from(farm) == MORE.sha256, "an attempt that left nothing takes nothing away"


def test_a_shorter_log_takes_the_place_of_a_longer_one_only_where_that_is_of_no_use(farm: ControlPlane) -> None:
    first, second = (
        PartialLog(sha256=name * 32, size_bytes=90, answers=count) for name, count in (("0a", 9), ("0b", 8))
    )
    goes_on_from = []
    for partial in (MORE, first, second, KEPT, None):
        order = handed_back(farm, partial)
        goes_on_from.append(order.resume.sha256 if order.resume is not None else None)
        with farm.database.transaction() as session:
            session.execute(update(Reproduction).values(not_before=None))
    # One that left a shorter log may have found the store away; where another does, nobody can go on from the longest.
    assert goes_on_from == [None, MORE.sha256, MORE.sha256, first.sha256, KEPT.sha256]


def test_after_an_attempt_that_broke_the_next_starts_over(farm: ControlPlane) -> None:
    handed_back(farm, KEPT)
    ended(farm, AttemptOutcome.WORKER_FAILED, "it broke")
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(not_before=None))
    assert resumed_from(farm) is None


def test_one_that_comes_back_and_gets_nowhere_waits_ever_longer_and_ends(farm: ControlPlane) -> None:
    handed_back(farm, KEPT)
    for _ in range(IN_A_ROW):
        handed_back(farm)
        assert reproduction(farm).not_before is None
    pauses = []
    for _ in range(2):
        handed_back(farm)
        until = reproduction(farm).not_before
        assert until is not None
        pauses.append((until - now()).total_seconds())
        with farm.database.transaction() as session:
            session.execute(update(Reproduction).values(not_before=None))
    assert 0 < pauses[0] < pauses[1]
    handed_back(farm, MORE)
    assert reproduction(farm).not_before is None, "it got on"
    handed_back(farm)
    long_ago = now() - timedelta(seconds=2 * farm.policy.run.queue_seconds)
    with farm.database.transaction() as session:
        session.execute(update(Attempt).values(dispatched_at=long_ago))
    handed_back(farm)
    assert reproduction(farm).state == ReproductionState.FAILED
    assert "without an answer more" in farm.claims()[0].reason


def test_one_that_comes_back_very_often_ends_whatever_it_says_is_kept(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.collect.ending.HANDED_BACK", 3)
    logs = [KEPT.model_copy(update={"answers": 10 * number}) for number in range(1, 6)]
    for log in logs[:3]:
        handed_back(farm, log)
        assert reproduction(farm).not_before is None
    handed_back(farm, logs[3])
    assert reproduction(farm).not_before is not None
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(not_before=None))
        long_ago = now() - timedelta(seconds=2 * farm.policy.run.queue_seconds)
        session.execute(update(Attempt).values(dispatched_at=long_ago))
    handed_back(farm, logs[4])
    assert reproduction(farm).state == ReproductionState.FAILED
    assert "5 attempts" in farm.claims()[0].reason


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        (None, None),
        (Resumed(sha256=KEPT.sha256, answers=120, samples=120), None),
        (Resumed(sha256=MORE.sha256, answers=120, samples=120), "a log that no attempt at this reproduction left"),
        (Resumed(sha256=KEPT.sha256, answers=119, samples=119), "119 answers, of which 120 were kept"),
    ],
)
def test_a_run_may_only_go_on_from_what_was_handed_back(
    farm: ControlPlane, said: Resumed | None, refused: str | None
) -> None:
    handed_back(farm, KEPT)
    with farm.database.reading() as session:
        found = not_handed_back(session.scalars(select(Reproduction)).one(), said)
    assert found is None if refused is None else refused in str(found)
