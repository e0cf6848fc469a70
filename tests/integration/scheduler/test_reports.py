"""What follows from a report that is taken in: verdicts, once, and room for the next batch."""

from __future__ import annotations

import shutil
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import undefer

from scheduler.badges.issuing import sign_missing
from scheduler.collect import checking, collecting
from scheduler.collect.ending import DEADLY
from scheduler.control_worker.worker_messages import take_report
from scheduler.database.tables import (
    Attempt,
    Badge,
    Claim,
    Event,
    OutboxRow,
    Publication,
    Reproduction,
    VerdictRow,
    Worker,
    now,
)
from scheduler.dispatch.seats import seats
from scheduler.farm import Farm
from scheduler.judging.evidence import check_evidence
from scheduler.messaging.outbox import relay
from scheduler.reaping.reaper import reap
from scheduler.reaping.silent_attempts import CHECKS
from scheduler.state_machine import ReproductionState
from specs.logs.evidence import path_in_store
from specs.messages import REPORT, AttemptOutcome, AttemptsAlive, Progress, Report, Stage, WorkerState
from tests.support.databases import at_once
from tests.support.queues import EMPTY_QUEUES
from tests.support.reported_farm import (
    INFLATED_PERCENT,
    TRUE_PERCENT,
    World,
    again,
    claims,
    count,
    ended,
    outcomes,
    reproduction,
    sent_again,
    take,
)
from tests.support.waiting import until


def test_one_reproduction_judges_both_claims(world: World, farm: Farm) -> None:
    take(farm, world.report)
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}
    done = reproduction(farm)
    assert done.state == ReproductionState.COMPLETED
    found = world.report.measurement
    assert found is not None
    assert done.reason == (
        f"{len(found.scored)} of 40 samples scored, where the last claim on the run had its answer;"
        f" {found.ignored} more were in flight and count for nothing"
    )


def test_the_last_report_of_a_batch_makes_room_for_another(world: World, farm: Farm) -> None:
    assert take(farm, world.report)
    assert not take(farm, world.report), "it came too late to change anything"


def test_while_the_rest_of_a_batch_goes_on_there_is_no_room(world: World, farm: Farm) -> None:
    run = reproduction(farm)
    columns = {column.name: getattr(run, column.name) for column in Reproduction.__table__.columns}
    with farm.database.transaction() as session:
        session.add(Reproduction(**{**columns, "reproduction_id": "0" * 32, "key": "another task's"}))
    assert not take(farm, world.report)


def test_what_is_to_be_tried_again_is_looked_for_at_once(world: World, farm: Farm) -> None:
    assert take(farm, ended(world, AttemptOutcome.HANDED_BACK, "its node is drained"))


def test_an_attempt_whose_log_takes_longer_to_read_than_its_lease_lasts_is_not_taken_for_lost(
    world: World, farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = farm.policy.run.model_copy(update={"heartbeat_seconds": 0.01})
    policy = farm.policy.model_copy(update={"run": run})

    def slowly(*asked: Any) -> None:
        with farm.database.transaction() as session:
            session.get_one(Reproduction, world.report.ref.reproduction_id).lease_until = now() - timedelta(seconds=1)
        until(lambda: (reproduction(farm).lease_until or now()) > now())
        assert reap(farm.database, policy, *EMPTY_QUEUES) == 0
        check_evidence(*asked)

    monkeypatch.setattr(checking, "check_evidence", slowly)
    collecting.report(farm.database, policy, farm.settings.evidence_url, world.report)
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}


class Killed(BaseException):
    """A control worker's end, over the report that it checks."""


def killed_over(farm: Farm, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a check of a report take long, and its process end before the check does; then the lease runs out."""
    quick = farm.policy.model_copy(update={"run": farm.policy.run.model_copy(update={"heartbeat_seconds": 0.01})})

    def killed(*_: Any) -> None:
        until(lambda: attempt(farm).report_checks > 0)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(checking, "check_evidence", killed)
        with pytest.raises(Killed):
            collecting.report(farm.database, quick, farm.settings.evidence_url, report)
    # Whoever renews leases has seen that there is none left.
    until(lambda: all(thread.name != "leases" for thread in threading.enumerate()))
    with farm.database.transaction() as session:
        session.get_one(Reproduction, report.ref.reproduction_id).lease_until = now() - timedelta(seconds=1)


def attempt(farm: Farm) -> Attempt:
    """The latest."""
    with farm.database.reading() as session:
        return session.scalars(select(Attempt).order_by(Attempt.number.desc()).options(undefer(Attempt.report))).all()[
            0
        ]


def reported_again(farm: Farm) -> list[Report]:
    """The reports that the farm sends itself now."""
    sent: list[Report] = []

    def send(*, task: str, queue: str, message_id: str, body: dict[str, Any]) -> None:
        if task == REPORT:
            sent.append(Report.decode(body))

    relay(farm.database, send)
    return sent


def begun(world: World, farm: Farm) -> None:
    """Have the run's worker be heard of."""
    progress = Progress(ref=world.report.ref, stage=Stage.STORING)
    message = AttemptsAlive(worker=world.report.worker, pool="cpu", batch_id="b", progress=(progress,))
    assert collecting.alive(farm.database, farm.policy, message) == []


@pytest.mark.parametrize("heard_of", [True, False])
def test_a_control_worker_that_dies_over_a_report_has_nothing_run_again(
    world: World, farm: Farm, monkeypatch: pytest.MonkeyPatch, *, heard_of: bool
) -> None:
    if heard_of:
        begun(world, farm)
    killed_over(farm, world.report, monkeypatch)
    assert reap(farm.database, farm.policy, *EMPTY_QUEUES) == 1
    assert reap(farm.database, farm.policy, *EMPTY_QUEUES) == 0, "it is being checked"
    assert reported_again(farm) == [world.report]
    take(farm, world.report)
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}
    assert (attempt(farm).number, attempt(farm).report) == (1, None)


def test_a_report_that_nobody_survives_is_checked_no_more_and_its_run_tried_again(
    world: World, farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(world, farm)
    sent = 0
    for checks in range(1, CHECKS + 1):
        killed_over(farm, world.report, monkeypatch)
        assert attempt(farm).report_checks == checks
        assert reap(farm.database, farm.policy, *EMPTY_QUEUES) == 1
        sent += len(reported_again(farm))
    assert sent == CHECKS - 1
    assert reproduction(farm).state == ReproductionState.QUEUED
    assert "whoever checked its report was lost" in reproduction(farm).reason
    # The next report may be alike: it is no death of a worker's, and uses up an attempt all the same.
    assert (attempt(farm).outcome, reproduction(farm).failures) == (AttemptOutcome.LOST, 1)
    assert attempt(farm).stage not in DEADLY
    assert attempt(farm).report is None


@pytest.mark.parametrize("by_message", [True, False])
def test_a_report_that_meets_a_fault_of_ours_is_tried_as_often_as_other_failures_and_says_so(
    world: World, farm: Farm, monkeypatch: pytest.MonkeyPatch, *, by_message: bool
) -> None:
    monkeypatch.setattr("scheduler.control_worker.process.farm", lambda: farm)
    monkeypatch.setattr("scheduler.control_worker.sending.send_out_if_possible", lambda: None)
    with farm.database.transaction() as session:
        # As a later version may have written it.
        for claim in session.scalars(select(Claim)):
            claim.rules = {**(claim.rules or {}), "unheard_of": 1}
    report = world.report
    task: Any = take_report
    for tries in range(1, farm.policy.run.attempts + 1):
        if by_message:
            task.run(report.encode())
        else:
            take(farm, report)
        assert (attempt(farm).outcome, attempt(farm).number) == (AttemptOutcome.WORKER_FAILED, tries)
        assert reproduction(farm).failures == tries
        if tries < farm.policy.run.attempts:
            report = again(farm, report)
    assert set(outcomes(farm).values()) == {"failed"}
    assert world.report.evidence is not None
    reason = claims(farm)[TRUE_PERCENT].reason
    assert "its report could not be taken in: ValidationError" in reason
    assert f"Its log is kept as evidence {world.report.evidence.sha256}" in reason


def test_a_report_that_is_delivered_twice_changes_nothing(world: World, farm: Farm) -> None:
    take(farm, world.report)
    take(farm, world.report)
    assert count(farm, VerdictRow) == 2


def test_a_report_that_is_tried_again_after_it_was_taken_in_is_not_said_to_be_late(
    world: World, farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(world, farm)

    def away(*_: object) -> None:
        raise OperationalError("SELECT", {}, ConnectionError("the database is away just then"))

    with monkeypatch.context() as patched:
        patched.setattr(collecting, "_going_on", away)
        with pytest.raises(OperationalError):
            take(farm, world.report)
    take(farm, world.report)
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}
    with farm.database.reading() as session:
        assert session.scalars(select(Event).where(Event.what == "late_report")).all() == []


def test_the_same_report_twice_in_one_transaction_counts_once(world: World, farm: Farm) -> None:
    checked = collecting.check(farm.database, farm.policy, farm.settings.evidence_url, world.report)
    assert collecting.take_in(farm.database, farm.policy, [checked, checked]) == [True, False]
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}
    assert count(farm, VerdictRow) == 2


def test_a_report_of_a_run_that_nobody_knows_keeps_no_other_from_being_taken_in(world: World, farm: Farm) -> None:
    unknown = world.report.ref.model_copy(update={"reproduction_id": "0" * 32})
    reports = [world.report.model_copy(update={"ref": unknown}), world.report]
    checked = [collecting.check(farm.database, farm.policy, farm.settings.evidence_url, each) for each in reports]
    assert collecting.take_in(farm.database, farm.policy, checked) == [False, True]
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}


def test_several_control_workers_with_the_same_report_give_one_verdict_and_one_badge(world: World, farm: Farm) -> None:
    at_once(lambda: take(farm, world.report))
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}
    assert count(farm, VerdictRow) == 2
    at_once(lambda: sign_missing(farm))
    assert count(farm, Badge) == count(farm, Publication) == 1


def test_a_report_about_something_else_than_was_ordered_is_refused_and_run_again(world: World, farm: Farm) -> None:
    other = world.report.encode()
    other["task"] = {**world.report.task.model_dump(), "spec_sha256": "0" * 64}
    take(farm, Report.decode(other))
    assert outcomes(farm) == {}
    again = reproduction(farm)
    assert again.state == ReproductionState.QUEUED
    assert "report refused" in again.reason
    assert "spec" in again.reason


def evidence_folder(farm: Farm) -> Path:
    """Of its store."""
    return Path(farm.settings.evidence_url.removeprefix("file://"))


def test_a_report_without_its_evidence_is_refused_and_run_again(world: World, farm: Farm) -> None:
    for log in evidence_folder(farm).rglob("*.eval"):
        log.unlink()
    take(farm, world.report)
    assert outcomes(farm) == {}
    assert reproduction(farm).state == ReproductionState.QUEUED
    assert attempt(farm).outcome == AttemptOutcome.WORKER_FAILED


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
    report = world.report
    # More often than a report is checked that kills whoever checks it.
    for _ in range(CHECKS + 2):
        assert not take(farm, report)
        assert after_the_pause(farm) == 1
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
    assert (attempt(farm).number, attempt(farm).outcome) == (1, AttemptOutcome.COMPLETED)


def test_a_control_worker_whose_evidence_store_is_away_goes_on_to_the_next_message(
    world: World, farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.control_worker.process.farm", lambda: farm)
    evidence_folder(farm).rename(evidence_folder(farm).with_name("unmounted"))
    task: Any = take_report
    task.run(world.report.encode())
    assert outcomes(farm) == {}
    assert attempt(farm).report == world.report.encode()
    assert "its report is kept" in reproduction(farm).reason


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
    assert attempt(farm).outcome == AttemptOutcome.INTERRUPTED
    assert "its evidence could not be read for 604800 s: there is no evidence store at" in reproduction(farm).reason


def test_a_report_of_an_earlier_attempt_is_dropped(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.STALLED, "no sample for 900 s"))
    sent_again(farm)
    take(farm, world.report)
    assert outcomes(farm) == {}
    assert reproduction(farm).attempt == 2
