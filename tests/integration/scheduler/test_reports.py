"""What follows from a report that is taken in: verdicts, once, and room for the next batch."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from scheduler.badges.issuing import sign_missing
from scheduler.collect import reports
from scheduler.database.tables import Attempt, Badge, Event, Publication, Reproduction, VerdictRow
from scheduler.farm import Farm
from scheduler.state_machine import ReproductionState
from specs.messages import AttemptOutcome, Report
from tests.support.databases import ON_BOTH, at_once, mostly_sqlite
from tests.support.reported_farm import (
    INFLATED_PERCENT,
    TRUE_PERCENT,
    World,
    begun,
    count,
    ended,
    outcomes,
    reproduction,
    sent_again,
    take,
)

databases = mostly_sqlite


@ON_BOTH
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


@ON_BOTH
def test_what_is_to_be_tried_again_is_looked_for_at_once(world: World, farm: Farm) -> None:
    assert take(farm, ended(world, AttemptOutcome.HANDED_BACK, "its node is drained"))


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
        patched.setattr(reports, "_going_on", away)
        with pytest.raises(OperationalError):
            take(farm, world.report)
    take(farm, world.report)
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}
    with farm.database.reading() as session:
        assert session.scalars(select(Event).where(Event.what == "late_report")).all() == []


def test_the_same_report_twice_in_one_transaction_counts_once(world: World, farm: Farm) -> None:
    checked = reports.check(farm.database, farm.policy, farm.settings.evidence_url, world.report)
    assert reports.take_in(farm.database, farm.policy, [checked, checked]) == [True, False]
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}
    assert count(farm, VerdictRow) == 2


def test_a_report_of_a_run_that_nobody_knows_keeps_no_other_from_being_taken_in(world: World, farm: Farm) -> None:
    unknown = world.report.ref.model_copy(update={"reproduction_id": "0" * 32})
    said = [world.report.model_copy(update={"ref": unknown}), world.report]
    checked = [reports.check(farm.database, farm.policy, farm.settings.evidence_url, each) for each in said]
    assert reports.take_in(farm.database, farm.policy, checked) == [False, True]
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}


@ON_BOTH
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


@ON_BOTH
@pytest.mark.parametrize("outcome", [AttemptOutcome.COMPLETED, AttemptOutcome.WORKER_FAILED])
def test_a_report_of_a_batch_that_the_database_lost_ends_no_attempt_of_another(
    world: World, farm: Farm, outcome: AttemptOutcome
) -> None:
    lost = world.report if outcome is AttemptOutcome.COMPLETED else ended(world, outcome, "of the lost batch")
    with farm.database.transaction() as session:
        # As after a failover of PostgreSQL to a standby that was a moment behind: the attempt was sent out anew.
        for row in (session.scalars(select(Reproduction)).one(), session.scalars(select(Attempt)).one()):
            row.batch_id = "b" * 32
        session.scalars(select(Attempt)).one().worker = lost.worker
    assert not take(farm, lost)
    found = reproduction(farm)
    assert (found.state, found.failures, found.worker) == (ReproductionState.DISPATCHED, 0, None)
    assert outcomes(farm) == {}
    with farm.database.reading() as session:
        assert session.scalars(select(Event).where(Event.what == "late_report")).all() == [], "it is not of that one"
    take(farm, Report.decode({**world.report.encode(), "batch_id": "b" * 32}))
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}


def test_a_report_of_a_worker_that_names_no_batch_yet_is_taken_in(world: World, farm: Farm) -> None:
    encoded = world.report.encode()
    assert encoded.pop("batch_id") == reproduction(farm).batch_id, "a worker of this version names it"
    take(farm, Report.decode(encoded))
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}


def test_a_report_of_an_earlier_attempt_is_dropped(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.STALLED, "no sample for 900 s"))
    sent_again(farm)
    take(farm, world.report)
    assert outcomes(farm) == {}
    assert reproduction(farm).attempt == 2
