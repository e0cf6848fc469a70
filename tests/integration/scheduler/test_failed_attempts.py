"""What follows from an attempt that did not complete: another one, a pause, or the end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from scheduler.database.tables import Attempt, Reproduction
from scheduler.dispatch.dispatcher import dispatch
from scheduler.farm import Farm
from scheduler.planning.planning import plan
from scheduler.requests.intervening import retry
from scheduler.state_machine import ClaimState, ReproductionState
from specs.messages import AttemptOutcome, AttemptRef, Report, Stage
from tests.support.databases import ON_BOTH, mostly_sqlite
from tests.support.reported_farm import (
    INFLATED_PERCENT,
    TRUE_PERCENT,
    World,
    again,
    claims,
    ended,
    outcomes,
    reproduction,
    take,
)
from tests.support.sent_batches import batch_of, sent_batches

databases = mostly_sqlite


def test_a_model_that_cannot_be_loaded_fails_its_claims_in_the_engines_words(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.MODEL_FAILED, "ValueError: no such architecture"))
    assert set(outcomes(farm).values()) == {"failed"}
    assert "no such architecture" in claims(farm)[TRUE_PERCENT].reason


def test_a_benchmark_that_cannot_be_run_makes_its_claims_unsupported(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.SPEC_FAILED, "the dataset has no column `answer`"))
    assert set(outcomes(farm).values()) == {"unsupported"}


def test_settings_that_the_engine_refuses_are_not_tried_again(world: World, farm: Farm) -> None:
    why = "the engine takes no question with the farm's sampling settings, which the farm's operator has to change"
    take(farm, ended(world, AttemptOutcome.REQUESTS_REFUSED, why))
    assert (reproduction(farm).state, reproduction(farm).attempt) == (ReproductionState.FAILED, 1)
    assert set(outcomes(farm).values()) == {"failed"}
    assert claims(farm)[TRUE_PERCENT].reason == f"failed: requests_refused: {why}"


@ON_BOTH
@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (AttemptOutcome.NO_ACCESS, "gated, and no token"),
        (AttemptOutcome.JUDGE_REFUSES, "the farm's operator must look at REPROFARM_JUDGE_KEY"),
    ],
)
@pytest.mark.parametrize(
    ("reached", "is_charged"), [(None, False), (Stage.FETCHING, False), (Stage.RUNNING, True), (Stage.STORING, True)]
)
def test_whoever_refuses_blocks_the_claims_until_somebody_acts(
    world: World, farm: Farm, outcome: AttemptOutcome, why: str, reached: Stage | None, *, is_charged: bool
) -> None:
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(gpu_seconds=60.0))
        session.execute(update(Attempt).values(stage=reached))
    take(farm, ended(world, outcome, why))
    found = claims(farm)
    assert {claim.state for claim in found.values()} == {ClaimState.BLOCKED}
    assert all(why in claim.reason and claim.recheck_at is not None for claim in found.values())
    assert (reproduction(farm).gpu_seconds is not None) == is_charged


@pytest.mark.parametrize("outcome", [AttemptOutcome.NO_ACCESS, AttemptOutcome.JUDGE_REFUSES])
def test_what_is_refused_again_and_again_is_run_ever_more_seldom_until_somebody_retries_it(
    world: World, farm: Farm, outcome: AttemptOutcome
) -> None:
    report, waits = ended(world, outcome, "refused"), []
    for _ in range(3):
        take(farm, report)
        found = claims(farm)[TRUE_PERCENT]
        assert (found.state, found.recheck_at is not None) == (ClaimState.BLOCKED, True)
        assert found.recheck_at is not None
        waits.append(round((found.recheck_at - found.since).total_seconds() / 60))
        # Once it was put right nobody waits for that.
        retry(farm.database, str(found.reproduction_id), "the key is put right", "operator:ann")
        plan(farm.database, farm.hub, farm.policy)
        dispatch(farm.database, farm.policy)
        again_of = claims(farm)[TRUE_PERCENT].reproduction_id
        assert again_of not in (None, found.reproduction_id)
        ref = AttemptRef(reproduction_id=str(again_of), attempt=1)
        anew = {"ref": ref.model_dump(), "batch_id": batch_of(farm.database, ref)}
        report = Report.decode({**report.encode(), **anew})
    assert waits == [10, 20, 40]


@ON_BOTH
def test_what_was_refused_waits_no_longer_than_another_claim_on_the_same_run(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.JUDGE_REFUSES, "refused"))
    retry(farm.database, claims(farm)[TRUE_PERCENT].claim_id, "the key is put right", "operator:ann")
    for _ in range(2):
        plan(farm.database, farm.hub, farm.policy)
    found = claims(farm)
    assert {claim.state for claim in found.values()} == {ClaimState.PLANNED}
    assert len({claim.reproduction_id for claim in found.values()}) == 1
    assert {claim.run_key for claim in found.values()} == {None}


def test_a_hub_that_is_away_costs_no_attempt_and_is_given_the_time_it_asks_for(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.HUB_AWAY, "429", retry_after_seconds=1800.0))
    waiting = reproduction(farm)
    assert (waiting.state, waiting.failures) == (ReproductionState.QUEUED, 0)
    assert waiting.not_before is not None
    assert (waiting.not_before - waiting.since).total_seconds() > 1700


def test_no_worker_parks_a_reproduction_for_longer_than_an_hour(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.HUB_AWAY, "429", retry_after_seconds=1e300))
    waiting = reproduction(farm)
    assert waiting.not_before is not None
    assert (waiting.not_before - waiting.since).total_seconds() <= 3601


def test_a_busy_device_costs_no_attempt_and_the_reason_names_its_holder(world: World, farm: Farm) -> None:
    busy = ended(world, AttemptOutcome.DEVICE_BUSY, "the device of this worker is not free: in use by pid 7 (python)")
    for _ in range(4):
        take(farm, busy)
        waiting = reproduction(farm)
        assert (waiting.state, waiting.failures) == (ReproductionState.QUEUED, 0)
        assert "in use by pid 7 (python)" in waiting.reason
        busy = again(farm, busy)


@ON_BOTH
def test_a_full_disk_costs_no_attempt_is_tried_ever_more_seldom_and_names_the_operator(
    world: World, farm: Farm
) -> None:
    full = ended(world, AttemptOutcome.DISK_FULL, "No space left on device")
    waits = []
    for _ in range(4):
        take(farm, full)
        waiting = reproduction(farm)
        assert (waiting.state, waiting.failures) == (ReproductionState.QUEUED, 0)
        assert "the farm's operator must free space for a worker of pool cpu: No space left on device" in waiting.reason
        assert waiting.not_before is not None
        waits.append(round((waiting.not_before - waiting.since).total_seconds()))
        full = again(farm, full)
    assert waits == [10, 20, 40, 80]
    with farm.database.transaction() as session:
        first = session.scalars(select(Attempt).order_by(Attempt.number)).first()
        assert first is not None
        first.dispatched_at -= timedelta(seconds=farm.policy.run.queue_seconds)
    take(farm, full)
    assert set(outcomes(farm).values()) == {"failed"}
    assert "disk_full: so for 604800 s and 5 attempts" in claims(farm)[TRUE_PERCENT].reason


def test_two_workers_that_can_do_nothing_do_not_hand_it_to_one_another_for_ever(world: World, farm: Farm) -> None:
    full = ended(world, AttemptOutcome.DISK_FULL, "No space left on device")
    busy = ended(world, AttemptOutcome.DEVICE_BUSY, "the device of this worker is not free: in use by pid 7 (python)")
    waits, report = [], full
    for following in (busy, full, busy, full):
        take(farm, report)
        waiting = reproduction(farm)
        assert waiting.not_before is not None
        waits.append(round((waiting.not_before - waiting.since).total_seconds()))
        report = again(farm, following)
    assert waits == [10, 10, 20, 20]
    with farm.database.transaction() as session:
        first = session.get_one(Attempt, (report.ref.reproduction_id, 1))
        first.dispatched_at -= timedelta(seconds=farm.policy.run.queue_seconds)
    take(farm, report)
    assert set(outcomes(farm).values()) == {"failed"}
    assert "disk_full: so for 604800 s and 5 attempts (disk_full, device_busy): " in claims(farm)[TRUE_PERCENT].reason


@ON_BOTH
def test_an_engine_out_of_memory_is_tried_once_more_with_less(world: World, farm: Farm) -> None:
    before = sent_batches(farm.database)[-1].engine
    short = ended(world, AttemptOutcome.OUT_OF_MEMORY, "CUDA out of memory")
    take(farm, short)
    assert reproduction(farm).state == ReproductionState.QUEUED
    second = again(farm, short)
    less = sent_batches(farm.database)[-1].engine
    assert (less.concurrency, less.enforce_eager) == (before.concurrency // 4, True)
    assert less.model_dump(exclude={"concurrency", "enforce_eager"}) == before.model_dump(
        exclude={"concurrency", "enforce_eager"}
    ), "nothing that changes an answer"
    assert outcomes(farm) == {}
    take(farm, second)
    assert reproduction(farm).state == ReproductionState.FAILED
    assert set(outcomes(farm).values()) == {"failed"}
    reason = claims(farm)[TRUE_PERCENT].reason
    assert "a pool of more memory" in reason
    assert "attempt 1 with 32 requests at once, with captured graphs: CUDA out of memory" in reason
    assert "attempt 2 with 8 requests at once, without captured graphs: CUDA out of memory" in reason


def test_what_completes_with_less_memory_is_judged_as_ever(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.OUT_OF_MEMORY, "CUDA out of memory"))
    take(farm, again(farm, world.report))
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}


def test_our_own_failures_are_tried_again_and_end_as_failed(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.ENGINE_FAILED, "the engine died"))
    assert reproduction(farm).state == ReproductionState.QUEUED
    take(farm, again(farm, ended(world, AttemptOutcome.ENGINE_FAILED, "the engine died again")))
    assert reproduction(farm).state == ReproductionState.FAILED
    assert set(outcomes(farm).values()) == {"failed"}


def test_what_a_worker_says_cannot_act_where_it_is_shown(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.MODEL_FAILED, "no\x1b[2J \u202esuch\x00 layer\n\x1b]0;x\x07last words"))
    with farm.database.reading() as session:
        assert session.scalars(select(Attempt.detail)).one() == "no such layer\nlast words"
    for claim in claims(farm).values():
        assert "no such layer" in claim.reason
        # The engine's last words stay with the attempt: a reason is read in lists.
        assert not any(each in claim.reason for each in ("\x1b", "\u202e", "\x00", "last words"))
