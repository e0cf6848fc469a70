"""Reports whose check takes long, is cut short, or meets a fault of ours: nothing is run again for that without end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, cast

import pytest
from celery.exceptions import Reject, Retry
from sqlalchemy.exc import OperationalError

from scheduler.collect import checking, current_attempts, reports
from scheduler.collect.checking import Checked
from scheduler.collect.ending import DEADLY
from scheduler.control_worker import worker_messages
from scheduler.control_worker.worker_messages import take_report
from scheduler.database.postgres import AWAY
from scheduler.database.tables import Attempt, Reproduction, now
from scheduler.farm import Farm
from scheduler.judging.evidence import check_evidence
from scheduler.reaping.reaper import reap
from scheduler.reaping.silent_attempts import AWAITED_SECONDS, CHECKS
from scheduler.state_machine import ReproductionState
from specs.measurement import Measurement
from specs.messages import AttemptOutcome, Report, Stage
from tests.support.queues import EMPTY_QUEUES
from tests.support.reported_farm import (
    INFLATED_PERCENT,
    TRUE_PERCENT,
    World,
    again,
    begun,
    claims,
    latest_attempt,
    outcomes,
    reported_again,
    reproduction,
    take,
)
from tests.support.waiting import PATIENCE_SECONDS, until


def test_an_attempt_whose_log_takes_longer_to_read_than_its_lease_lasts_is_not_taken_for_lost(
    world: World, farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = farm.policy.run.model_copy(update={"heartbeat_seconds": 0.01})
    policy = farm.policy.model_copy(update={"run": run})

    def slowly(*asked: Any) -> Measurement:
        with farm.database.transaction() as session:
            session.get_one(Reproduction, world.report.ref.reproduction_id).lease_until = now() - timedelta(seconds=1)
        until(lambda: (reproduction(farm).lease_until or now()) > now())
        assert reap(farm.database, policy, *EMPTY_QUEUES) == 0
        return check_evidence(*asked)

    monkeypatch.setattr(checking, "check_evidence", slowly)
    reports.report(farm.database, policy, farm.settings.evidence_url, world.report)
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}


@pytest.mark.parametrize("stage", [Stage.STORING, Stage.RUNNING])
@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_report_whose_row_somebody_else_holds_for_long_keeps_no_other_waiting_and_is_tried_again(
    world: World, farm: Farm, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    monkeypatch.setattr("scheduler.control_worker.process.farm", lambda: farm)
    monkeypatch.setattr("scheduler.control_worker.sending.send_out_if_possible", lambda: None)
    assert worker_messages.LONGEST_PAUSE_SECONDS + current_attempts.ROW_SECONDS < AWAITED_SECONDS
    monkeypatch.setattr(reports, "ROW_SECONDS", 0.1)
    held = world.report
    begun(world, farm)
    over = farm.policy.run.lease_seconds + 1 if stage is Stage.RUNNING else 1
    with farm.database.transaction() as session:
        # Once its row is held, nobody hears of it that the run has ended.
        session.get_one(Attempt, (held.ref.reproduction_id, held.ref.attempt)).stage = stage
        session.get_one(Reproduction, held.ref.reproduction_id).lease_until = now() - timedelta(seconds=over)
    other = Report.decode({**held.encode(), "ref": {"reproduction_id": "0" * 32, "attempt": 1}})
    checked = [Checked(held, None, None, None), Checked(other, None, None, None, awaited=False)]
    with ThreadPoolExecutor(2) as threads, farm.database.transaction() as frozen:
        frozen.get_one(Reproduction, held.ref.reproduction_id, with_for_update=True)
        with worker_messages._take_in._turn:
            # Both wait for their turn, and have it together.
            taken = [threads.submit(worker_messages._take_in, each) for each in checked]
            until(lambda: len(worker_messages._take_in._waiting) == 2)
        assert taken[1].result(PATIENCE_SECONDS) is False
        with pytest.raises(OperationalError) as locked:
            taken[0].result(PATIENCE_SECONDS)
        assert isinstance(locked.value, AWAY)
    # The reaper may come first, once the row is free.
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    assert reproduction(farm).state == ReproductionState.RUNNING
    take_report(held.encode())
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}


class Killed(BaseException):
    """A control worker's end, over the report that it checks."""


def killed_over(farm: Farm, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a check of a report take long, and its process end before the check does; then the lease runs out."""
    quick = farm.policy.model_copy(update={"run": farm.policy.run.model_copy(update={"heartbeat_seconds": 0.01})})

    def killed(*_: Any) -> None:
        until(lambda: latest_attempt(farm).report_checks > 0)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(checking, "check_evidence", killed)
        with pytest.raises(Killed):
            reports.report(farm.database, quick, farm.settings.evidence_url, report)
    # Whoever renews leases has seen that there is none left.
    until(lambda: all(thread.name != "leases" for thread in threading.enumerate()))
    with farm.database.transaction() as session:
        session.get_one(Reproduction, report.ref.reproduction_id).lease_until = now() - timedelta(seconds=1)


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
    assert (latest_attempt(farm).number, latest_attempt(farm).report) == (1, None)


def test_a_report_that_nobody_survives_is_checked_no_more_and_its_run_tried_again(
    world: World, farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(world, farm)
    sent = 0
    for checks in range(1, CHECKS + 1):
        killed_over(farm, world.report, monkeypatch)
        assert latest_attempt(farm).report_checks == checks
        assert reap(farm.database, farm.policy, *EMPTY_QUEUES) == 1
        sent += len(reported_again(farm))
    assert sent == CHECKS - 1
    assert reproduction(farm).state == ReproductionState.QUEUED
    assert "whoever checked its report was lost" in reproduction(farm).reason
    # The next report may be alike: it is no death of a worker's, and uses up an attempt all the same.
    assert (latest_attempt(farm).outcome, reproduction(farm).failures) == (AttemptOutcome.LOST, 1)
    assert latest_attempt(farm).stage not in DEADLY
    assert latest_attempt(farm).report is None


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
@pytest.mark.parametrize("first", ["the database", "the broker", "somebody who stops it"])
def test_a_report_is_held_while_neither_database_nor_broker_takes_it(
    world: World, farm: Farm, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr("scheduler.control_worker.process.farm", lambda: farm)
    monkeypatch.setattr("scheduler.control_worker.sending.send_out_if_possible", lambda: None)
    monkeypatch.setattr(worker_messages, "_stopping", threading.Event())
    task, there, refused, sent = cast("Any", take_report), set[str](), list[str](), list[Any]()
    take_in = reports.report

    def database(*asked: Any) -> bool:
        if "the database" not in there:
            raise OperationalError("SELECT 1", {}, Exception("server closed the connection unexpectedly"))
        return take_in(*asked)

    def broker(args: Any, *_: Any, **__: Any) -> None:
        if "the broker" not in there:
            refused.append("the broker")
            raise ConnectionError("nobody listens there")
        sent.append(args)

    monkeypatch.setattr(reports, "report", database)
    monkeypatch.setattr(task, "apply_async", broker)

    def deliver() -> BaseException | None:
        body = world.report.encode()
        task.push_request(id="of-a-report", args=(body,), kwargs={}, called_directly=False, is_eager=False)
        try:
            task.run(body)
        except (Retry, Reject) as raised:
            return raised
        finally:
            task.pop_request()
        return None

    with ThreadPoolExecutor(1) as threads:
        taken = threads.submit(deliver)
        until(lambda: len(refused) > 1 or taken.done())
        assert not taken.done(), "nobody has the report any more"
        there.add(first)
        if first == "somebody who stops it":
            worker_messages._let_go()
        ended = taken.result(PATIENCE_SECONDS)
    assert type(ended) is {"the database": type(None), "the broker": Retry}.get(first, Reject)
    assert sent == ([(world.report.encode(),)] if first == "the broker" else [])
    assert bool(outcomes(farm)) is (first == "the database")


@pytest.mark.parametrize("by_message", [True, False])
def test_a_report_that_meets_a_fault_of_ours_is_tried_as_often_as_other_failures_and_says_so(
    world: World, farm: Farm, monkeypatch: pytest.MonkeyPatch, *, by_message: bool
) -> None:
    monkeypatch.setattr("scheduler.control_worker.process.farm", lambda: farm)
    monkeypatch.setattr("scheduler.control_worker.sending.send_out_if_possible", lambda: None)

    def with_a_bug(*_args: object) -> None:
        raise KeyError("what is always there")

    monkeypatch.setattr("scheduler.collect.reports.judge_claims", with_a_bug)
    report = world.report
    task: Any = take_report
    for tries in range(1, farm.policy.run.attempts + 1):
        if by_message:
            task.run(report.encode())
        else:
            take(farm, report)
        assert (latest_attempt(farm).outcome, latest_attempt(farm).number) == (AttemptOutcome.WORKER_FAILED, tries)
        assert reproduction(farm).failures == tries
        if tries < farm.policy.run.attempts:
            report = again(farm, report)
    assert set(outcomes(farm).values()) == {"failed"}
    assert world.report.evidence is not None
    reason = claims(farm)[TRUE_PERCENT].reason
    assert "its report could not be taken in: KeyError" in reason
    assert f"Its log is kept as evidence {world.report.evidence.sha256}" in reason
