"""Reports whose evidence is missing: refused where its worker did not store it, kept while the whole store is away."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from scheduler.control_worker.worker_messages import take_report
from scheduler.database.tables import Attempt, Event, OutboxRow, Reproduction, Worker, now
from scheduler.dispatch.seats import seats
from scheduler.farm import Farm
from scheduler.metrics import collector
from scheduler.reaping.reaper import reap
from scheduler.reaping.silent_attempts import CHECKS
from scheduler.state_machine import ReproductionState
from specs.logs.evidence import path_in_store
from specs.messages import REPORT, AttemptOutcome, WorkerState
from tests.support.databases import ON_BOTH, mostly_sqlite
from tests.support.queues import EMPTY_QUEUES
from tests.support.reported_farm import (
    INFLATED_PERCENT,
    TRUE_PERCENT,
    World,
    begun,
    latest_attempt,
    outcomes,
    reported_again,
    reproduction,
    take,
)

databases = mostly_sqlite


def evidence_folder(farm: Farm) -> Path:
    """Of its store."""
    return Path(farm.settings.evidence_url.removeprefix("file://"))


def test_a_report_without_its_evidence_is_refused_and_run_again(world: World, farm: Farm) -> None:
    for log in evidence_folder(farm).rglob("*.eval"):
        log.unlink()
    take(farm, world.report)
    assert outcomes(farm) == {}
    assert reproduction(farm).state == ReproductionState.QUEUED
    assert latest_attempt(farm).outcome == AttemptOutcome.WORKER_FAILED


def earlier_run(farm: Farm, log: str) -> None:
    """A run of long ago, whose log was stored."""
    before, run = now() - timedelta(days=1), reproduction(farm)
    columns = {column.name: getattr(run, column.name) for column in Reproduction.__table__.columns}
    changes = {
        "reproduction_id": "0" * 32,
        "key": "another",
        "weights_sha256": "0" * 64,
        "state": "completed",
        "evidence_sha256": log,
    }
    with farm.database.transaction() as session:
        session.add(Reproduction(**{**columns, **changes}))
        session.flush()
        ended = {"ended_at": before, "outcome": AttemptOutcome.COMPLETED, "dispatched_at": before}
        session.add(Attempt(reproduction_id="0" * 32, number=1, batch_id="b", **ended))


def test_a_store_that_has_nothing_of_what_was_stored_there_is_away_and_blames_nobody(world: World, farm: Farm) -> None:
    earlier_run(farm, "ab" * 32)
    store = evidence_folder(farm)
    kept = store.rename(store.with_name("unmounted"))
    # As an empty volume is, in which another worker stores meanwhile.
    (store / "cd").mkdir(parents=True)
    (store / path_in_store("cd" * 32)).write_text("a log")
    assert not take(farm, world.report)
    with farm.database.reading() as session:
        waiting = session.get_one(Reproduction, world.report.ref.reproduction_id)
    assert (waiting.state, waiting.failures) == (ReproductionState.RUNNING, 0)
    assert "that store lost what it held" in waiting.reason
    shutil.rmtree(store)
    kept.rename(store)
    take(farm, world.report)
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}


def test_of_a_new_farm_an_empty_store_is_away(world: World, farm: Farm) -> None:
    shutil.rmtree(evidence_folder(farm))
    evidence_folder(farm).mkdir()
    assert not take(farm, world.report)
    assert "workers write elsewhere" in reproduction(farm).reason


@ON_BOTH
def test_one_log_that_is_missing_beside_those_of_earlier_runs_is_its_workers_fault(world: World, farm: Farm) -> None:
    earlier_run(farm, "ab" * 32)
    shutil.rmtree(evidence_folder(farm))
    (evidence_folder(farm) / "ab").mkdir(parents=True)
    (evidence_folder(farm) / path_in_store("ab" * 32)).write_text("a log")
    take(farm, world.report)
    with farm.database.reading() as session:
        attempts = session.scalars(select(Attempt).order_by(Attempt.dispatched_at)).all()
    assert [each.outcome for each in attempts] == [AttemptOutcome.COMPLETED, AttemptOutcome.WORKER_FAILED]


def after_the_pause(farm: Farm) -> int:
    """Have the reaper come when what was put off is due; how many reproductions it touched."""
    lease = reproduction(farm).lease_until
    assert lease is not None
    assert lease > now(), "nobody takes the attempt for lost while the report is kept"
    assert reap(farm.database, farm.policy, *EMPTY_QUEUES) == 0
    with farm.database.transaction() as session:
        session.scalars(select(Reproduction)).one().lease_until = now() - timedelta(seconds=1)
    return reap(farm.database, farm.policy, *EMPTY_QUEUES)


def is_idle(farm: Farm, worker: str) -> bool:
    """Whether a worker that says that it does nothing is taken to do nothing."""
    (pool,) = farm.policy.pools
    with farm.database.transaction() as session:
        later = now() + timedelta(hours=1)
        session.add(Worker(name=worker, pool=pool.name, state=WorkerState.IDLE, due_at=later, hardware="", memory=[]))
    with farm.database.reading() as session:
        (seat,) = seats(session, pool)
        return seat.idle


@pytest.mark.parametrize("heard_of", [True, False])
def test_a_report_whose_evidence_store_is_away_is_kept_and_judged_once_it_is_back(
    world: World, farm: Farm, *, heard_of: bool
) -> None:
    if heard_of:
        begun(world, farm)
    store = evidence_folder(farm)
    gone = store.rename(store.with_name("unmounted"))
    report, figures = world.report, collector.registry(farm.database, farm.policy)
    # More often than a report is checked that kills whoever checks it.
    for _ in range(CHECKS + 2):
        assert not take(farm, report)
        assert figures.get_sample_value("reprofarm_runs_awaiting_store") == 1
        assert after_the_pause(farm) == 1
        assert figures.get_sample_value("reprofarm_runs_awaiting_store") == 1, "it is looked for, and not found yet"
        (report,) = reported_again(farm)
    assert report == world.report
    with farm.database.reading() as session:
        kept = session.scalars(select(OutboxRow).where(OutboxRow.task == REPORT)).all()
        assert len(kept) == 1, "hours of checks leave one message in the outbox"
    waiting = reproduction(farm)
    assert (waiting.state, waiting.failures) == (ReproductionState.RUNNING, 0)
    assert "its report is kept until its evidence can be read: there is no evidence store at" in waiting.reason
    assert outcomes(farm) == {}
    with farm.database.reading() as session:
        assert len(session.scalars(select(Event).where(Event.what == "report_put_off")).all()) == 1, "said once"
    assert is_idle(farm, world.report.worker), "it takes other work meanwhile"
    gone.rename(store)
    take(farm, report)
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}
    assert (latest_attempt(farm).number, latest_attempt(farm).outcome) == (1, AttemptOutcome.COMPLETED)
    assert figures.get_sample_value("reprofarm_runs_awaiting_store") == 0


def test_a_control_worker_whose_evidence_store_is_away_goes_on_to_the_next_message(
    world: World, farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.control_worker.process.farm", lambda: farm)
    evidence_folder(farm).rename(evidence_folder(farm).with_name("unmounted"))
    task: Any = take_report
    task.run(world.report.encode())
    assert outcomes(farm) == {}
    assert latest_attempt(farm).report == world.report.encode()
    assert "its report is kept" in reproduction(farm).reason


@ON_BOTH
def test_an_evidence_store_that_never_comes_back_is_nobodys_mismatch(world: World, farm: Farm) -> None:
    begun(world, farm)
    shutil.rmtree(evidence_folder(farm))
    take(farm, world.report)
    long_ago = now() - timedelta(seconds=farm.policy.run.queue_seconds + 60)
    with farm.database.transaction() as session:
        waiting = session.scalars(select(Attempt)).one()
        waiting.alive_at = waiting.dispatched_at = long_ago
    assert after_the_pause(farm) == 1
    take(farm, reported_again(farm)[0])
    assert set(outcomes(farm).values()) == {"failed"}
    assert latest_attempt(farm).outcome == AttemptOutcome.INTERRUPTED
    assert "its evidence could not be read for 604800 s: there is no evidence store at" in reproduction(farm).reason
