"""An entry that is taken away and put back is not run again with other luck."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from deploy.localhub.names import RepoName, RepoType
from scheduler.collect.ending import end_attempt, hand_back
from scheduler.database.tables import Attempt, Claim, Reproduction, now
from scheduler.dispatch.dispatcher import dispatch
from scheduler.planning.planning_facts import PlanningFacts
from scheduler.reaping.reaper import reap
from scheduler.requests import intervening
from scheduler.state_machine import ClaimState, ReproductionState
from specs.errors import InterventionError
from specs.judging.noise import MeasuredNoise, Noise
from specs.judging.sample_order import seeded_order
from specs.messages import AttemptOutcome, Stage
from specs.policy.rules import Policy
from tests.support.asking_again import reverify
from tests.support.databases import ON_BOTH, Databases, mostly_sqlite
from tests.support.deciding import complete
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.queues import EMPTY_QUEUES
from tests.support.rows import measurement
from tests.support.scheduler import ControlPlane, control_plane

BENCHMARK, MODEL = "acme/capitals", "tiny/model"
SCORES = [float(bit) for bit in np.random.default_rng(0).integers(0, 2, 400)]


databases = mostly_sqlite


@pytest.fixture
def farm(tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    with control_plane(tmp_path, databases) as plane:
        add_benchmark(plane.served.local, BENCHMARK)
        add_model(plane.served.local, MODEL)
        yield plane


def say(farm: ControlPlane, *values: float) -> Claim | None:
    """Have the model claim these values and no others, each with notes of its own; the claim of the first."""
    repo = RepoName(RepoType.MODEL, MODEL)
    text = "".join(entry(BENCHMARK, value, more=f"  notes: number {n}\n") for n, value in enumerate(values))
    submit(farm.served.local, repo, text or entry("acme/other", 1))
    return look(farm, *values[:1])


def look(farm: ControlPlane, *values: float) -> Claim | None:
    """Have what was said found and planned; the claim of one of these values."""
    farm.scan()
    farm.plan()
    living = [claim for claim in farm.claims() if claim.live and claim.value in values]
    return living[0] if living else None


def run_of(farm: ControlPlane, claim: Claim | None) -> Reproduction:
    assert claim is not None
    with farm.database.reading() as session:
        return session.get_one(Reproduction, claim.reproduction_id)


def begun(farm: ControlPlane, value: float) -> Reproduction:
    """The run that was sent out for a claim."""
    claim = say(farm, value)
    dispatch(farm.database, farm.policy)
    return run_of(farm, claim)


def stopped_early(farm: ControlPlane, run: Reproduction) -> None:
    """Have a run that was sent out be done with its first hundred samples."""
    assert run.seed is not None
    ids = seeded_order(range(1, len(SCORES) + 1), run.seed)[:100]
    found = {"population": len(SCORES), "sample_ids": tuple(ids), "sample_scores": tuple(SCORES[n - 1] for n in ids)}
    done = measurement().model_copy(update=found).model_dump(mode="json")
    this = update(Reproduction).where(Reproduction.reproduction_id == run.reproduction_id)
    with farm.database.transaction() as session:
        session.execute(this.values(state=ReproductionState.COMPLETED, measurement=done))


def begun_for_all(farm: ControlPlane) -> Reproduction:
    """The one run that waits, sent out and begun by a worker."""
    dispatch(farm.database, farm.policy)
    (run,) = [each for each in farm.reproductions() if each.state == ReproductionState.DISPATCHED]
    heard_of(farm, run)
    return run


@ON_BOTH
def test_a_run_that_is_under_way_goes_on_for_the_entry_that_is_put_back(farm: ControlPlane) -> None:
    run = begun(farm, 50)
    say(farm)
    again = say(farm, 50)
    assert again is not None
    assert again.state == ClaimState.PLANNED
    assert run_of(farm, again).reproduction_id == run.reproduction_id


@ON_BOTH
@pytest.mark.parametrize("put_back", ["as it was", "with other notes", "in another file", "on a pull request"])
def test_a_run_that_stopped_early_still_answers_the_entry_that_is_put_back(farm: ControlPlane, put_back: str) -> None:
    run = begun(farm, 10)
    stopped_early(farm, run)
    say(farm)
    if put_back != "as it was":
        changed: dict[str, dict[str, Any]] = {
            "with other notes": {},
            "in another file": {"name": "moved.yaml"},
            "on a pull request": {"author": "fan", "create_pr": True},
        }
        text = entry(BENCHMARK, 10, more="  notes: an edit\n")
        submit(farm.served.local, RepoName(RepoType.MODEL, MODEL), text, **changed[put_back])
    again = say(farm, 10) if put_back == "as it was" else look(farm, 10)
    assert again is not None
    assert again.reason.startswith("mismatch: ")
    assert run_of(farm, again).reproduction_id == run.reproduction_id
    other = say(farm, 11)
    assert other is not None
    assert (other.state, run_of(farm, other).seed) == (ClaimState.PLANNED, None), "nobody may choose what fits a run"


@pytest.mark.parametrize("is_over", [True, False])
@pytest.mark.parametrize("budget", [{"approval_gpu_seconds": 1}, {"gpu_seconds_per_day": 1}])
def test_no_budget_holds_back_an_entry_that_its_own_run_answers(
    farm: ControlPlane, budget: dict[str, float], *, is_over: bool
) -> None:
    run = begun(farm, 10)
    if is_over:
        stopped_early(farm, run)
    say(farm)
    again = say(replace(farm, policy=Policy.model_validate({"budget": budget})), 10)
    assert again is not None
    assert again.state == (ClaimState.DECIDED if is_over else ClaimState.PLANNED)
    assert run_of(farm, again).reproduction_id == run.reproduction_id


@pytest.mark.parametrize("how", ["taken away", "cancelled"])
def test_a_run_that_was_cancelled_is_begun_again_as_it_was(farm: ControlPlane, how: str) -> None:
    run = begun(farm, 50)
    if how == "taken away":
        say(farm)
        reap(farm.database, farm.policy, *EMPTY_QUEUES)
        again = say(farm, 50)
    else:
        (claim,) = farm.claims()
        intervening.cancel(farm.database, claim.claim_id, "it goes badly", "hub:tiny", operates=False)
        intervening.retry(farm.database, claim.claim_id, "better luck", "hub:tiny")
        farm.plan()
        (again,) = farm.claims()
    with farm.database.reading() as session:
        assert session.get_one(Reproduction, run.reproduction_id).state == ReproductionState.CANCELLED
    anew = run_of(farm, again)
    assert anew.reproduction_id != run.reproduction_id
    assert (anew.seed, anew.stopping, anew.joinable) == (run.seed, run.stopping, False)
    dispatch(farm.database, farm.policy)
    assert run_of(farm, again).state == ReproductionState.DISPATCHED
    changed = say(farm, 50.5)
    assert run_of(farm, changed).seed is None, "another claim is not one that was there before that order was drawn"


def heard_of(farm: ControlPlane, run: Reproduction, stage: Stage = Stage.RUNNING) -> None:
    """Have a worker say what it does for a run."""
    said = {"started_at": now(), "stage": stage, "begun_at": None if stage is Stage.WAITING else now()}
    with farm.database.transaction() as session:
        session.execute(update(Attempt).where(Attempt.reproduction_id == run.reproduction_id).values(said))


@pytest.mark.parametrize("not_begun", [0, 1])
@pytest.mark.parametrize("heard", [True, False])
def test_a_run_that_no_worker_began_is_not_one_that_was_cancelled_for_how_it_went(
    farm: ControlPlane, not_begun: int, *, heard: bool
) -> None:
    """In a queue, or behind others of its batch; nor is it for that, if it was begun again and is still there."""
    for number in range(2):
        run = begun(farm, 50)
        if number != not_begun or heard:
            heard_of(farm, run, Stage.WAITING if number == not_begun else Stage.RUNNING)
        (claim,) = farm.claims()
        intervening.cancel(farm.database, claim.claim_id, "too dear", "hub:tiny", operates=False)
        assert run_of(farm, claim).state == ReproductionState.CANCELLED
        intervening.retry(farm.database, claim.claim_id, "after all", "hub:tiny")


@pytest.mark.parametrize("how", ["taken away", "cancelled"])
def test_a_run_that_was_begun_again_goes_to_its_end(farm: ControlPlane, how: str) -> None:
    heard_of(farm, begun(farm, 50))
    (first,) = farm.claims()
    intervening.cancel(farm.database, first.claim_id, "it goes badly", "hub:tiny", operates=False)
    intervening.retry(farm.database, first.claim_id, "better luck", "hub:tiny")
    anew = begun(farm, 50)
    heard_of(farm, anew)
    if how == "taken away":
        say(farm)
        reap(farm.database, farm.policy, *EMPTY_QUEUES)
    else:
        for target in (first.claim_id, anew.reproduction_id):
            with pytest.raises(InterventionError, match="goes to its end"):
                intervening.cancel(farm.database, target, "it goes badly again", "hub:tiny", operates=False)
    again = say(farm, 50)
    assert (run_of(farm, again).reproduction_id, run_of(farm, again).state) == (
        anew.reproduction_id,
        ReproductionState.DISPATCHED,
    )
    complete(farm, 100)
    answered = look(farm, 50)
    assert answered is not None
    assert answered.reason.startswith("verified: ")
    assert run_of(farm, answered).reproduction_id == anew.reproduction_id


def judged_otherwise(farm: ControlPlane, changed: str, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    """The farm once claims are planned with another tolerance, or with noise that was measured meanwhile."""
    if changed == "tolerance":
        return replace(farm, policy=Policy.model_validate({"verification": {"tolerance": 0.03}}))
    seen = Noise(
        pairs=3,
        comparisons=3,
        models=3,
        samples=600,
        mean_difference=0.0,
        mean_square=0.1,
        mean_square_bound=0.12,
        coins_mean_square=0.5,
        shift_variance=0.0,
    )
    found = MeasuredNoise(seen, population=len(SCORES), source="other models")
    monkeypatch.setattr(PlanningFacts, "measured_noise", lambda *_: found)
    return farm


def asked_again(farm: ControlPlane, value: float) -> str:
    """Have a claim verified, and its verification asked for and planned again; the new claim's id."""
    say(farm, value)
    complete(farm, 100)
    (old,) = farm.claims()
    asked = reverify(farm.database, old.claim_id, "I doubt it", "hub:tiny").claim_id
    farm.plan()
    return asked


@pytest.mark.parametrize("changed", ["tolerance", "noise"])
@pytest.mark.parametrize("how", ["taken away", "cancelled"])
def test_a_run_that_is_begun_again_for_a_claim_that_is_judged_otherwise_asks_every_sample_in_the_same_order(
    farm: ControlPlane, changed: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_again(farm, 50)
    run = begun(farm, 50)
    assert run.stopping is not None
    heard_of(farm, run)
    if how == "taken away":
        say(farm)
        reap(farm.database, farm.policy, *EMPTY_QUEUES)
    else:
        intervening.cancel(farm.database, asked, "it goes badly", "hub:tiny", operates=False)
    farm = judged_otherwise(farm, changed, monkeypatch)
    if how == "taken away":
        # It is found to await a fresh run as it is planned.
        say(farm, 50)
    else:
        intervening.retry(farm.database, asked, "better luck", "hub:tiny")
    anew = begun(farm, 50)
    assert anew.reproduction_id != run.reproduction_id
    assert (anew.seed, anew.stopping, anew.joinable, anew.asked_anew) == (run.seed, None, True, True)
    heard_of(farm, anew)
    with pytest.raises(InterventionError, match="goes to its end"):
        intervening.cancel(farm.database, anew.reproduction_id, "it goes badly again", "hub:tiny", operates=False)


@pytest.mark.parametrize("changed", ["tolerance", "noise"])
def test_a_run_that_was_begun_again_by_the_old_rules_takes_no_claim_that_is_judged_otherwise(
    farm: ControlPlane, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor has that one other luck, and who comes after shares its run."""
    say(farm, 50, 51, 52)
    run = begun_for_all(farm)
    intervening.cancel(farm.database, run.reproduction_id, "it goes badly", "hub:tiny", operates=False)
    claims = {claim.value: claim.claim_id for claim in farm.claims()}

    def back(value: float) -> Reproduction:
        intervening.retry(farm.database, claims[value], "better luck", "hub:tiny")
        return run_of(farm, look(farm, value))

    old = back(50)
    assert (old.seed, old.stopping) == (run.seed, run.stopping)
    farm = judged_otherwise(farm, changed, monkeypatch)
    others = [back(51), back(52)]
    assert others[0].reproduction_id == others[1].reproduction_id != old.reproduction_id
    assert (others[0].seed, others[0].stopping) == (run.seed, None)


@pytest.mark.parametrize("changed", ["tolerance", "noise"])
def test_a_claim_that_was_cancelled_while_its_run_went_on_has_one_draw_more_of_every_sample(
    farm: ControlPlane, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that run stopped by other rules than it is judged by now."""
    asked = asked_again(farm, 50)
    say(farm, 50, 51)
    run = begun_for_all(farm)
    assert run.stopping is not None
    intervening.cancel(farm.database, asked, "it goes badly", "hub:tiny", operates=False)
    stopped_early(farm, run)
    farm = judged_otherwise(farm, changed, monkeypatch)
    intervening.retry(farm.database, asked, "better luck", "hub:tiny")
    farm.plan()
    dispatch(farm.database, farm.policy)
    second = run_of(farm, look(farm, 50))
    assert second.reproduction_id != run.reproduction_id
    assert (second.second_anew, second.stopping, second.joinable) == (True, None, True)


@ON_BOTH
@pytest.mark.parametrize("meanwhile", ["refused", "of another key"])
def test_a_claim_that_had_no_run_of_the_key_meanwhile_has_its_cancelled_one_begun_again(
    farm: ControlPlane, meanwhile: str
) -> None:
    asked = asked_again(farm, 50)
    cancelled = begun_for_all(farm)
    intervening.cancel(farm.database, asked, "it goes badly", "hub:tiny", operates=False)
    intervening.retry(farm.database, asked, "better luck", "hub:tiny")
    # As by a commit of the model's that is taken back. No fraction is 50, and another temperature is another run.
    changed: dict[str, Any] = {"scale": "fraction"} if meanwhile == "refused" else {"generation": {"temperature": 0.5}}
    replace(farm, policy=Policy.model_validate({"verification": changed})).plan()
    if meanwhile == "refused":
        asked = reverify(farm.database, asked, "mended", "hub:tiny").claim_id
    else:
        intervening.cancel(farm.database, asked, "before anything is sent", "hub:tiny", operates=False)
        intervening.retry(farm.database, asked, "as before", "hub:tiny")
    farm.plan()
    anew = begun_for_all(farm)
    assert (anew.key, anew.seed) == (cancelled.key, cancelled.seed)
    with pytest.raises(InterventionError, match="goes to its end"):
        intervening.cancel(farm.database, asked, "it goes badly again", "hub:tiny", operates=False)


@ON_BOTH
def test_an_operator_cancels_a_run_that_was_begun_again(farm: ControlPlane) -> None:
    for _ in range(2):
        run = begun(farm, 50)
        heard_of(farm, run)
        (claim,) = farm.claims()
        intervening.cancel(farm.database, claim.claim_id, "takes the whole pool", "operator:ada")
        with farm.database.reading() as session:
            assert session.get_one(Reproduction, run.reproduction_id).state == ReproductionState.CANCELLED
        intervening.retry(farm.database, claim.claim_id, "there is room", "operator:ada")


def ended(farm: ControlPlane, outcome: AttemptOutcome, stage: Stage | None) -> Reproduction:
    """Have the next attempt end so, which came so far; its run."""
    dispatch(farm.database, farm.policy)
    with farm.database.transaction() as session:
        run = session.scalars(select(Reproduction).where(Reproduction.state == ReproductionState.DISPATCHED)).one()
        attempt = session.get_one(Attempt, (run.reproduction_id, run.attempt))
        attempt.stage, attempt.begun_at = stage, now() if stage is not None else None
        if outcome is AttemptOutcome.HANDED_BACK:
            hand_back(session, farm.policy, run, "w1", "its node is drained")
        else:
            end_attempt(session, farm.policy, run, outcome, "the Hub hides it")
        return run


def tried_again(farm: ControlPlane) -> Reproduction:
    """The run of the one claim once somebody has it tried again."""
    (claim,) = [each for each in farm.claims() if each.live]
    # What is unsupported is not retried.
    try_again = reverify if claim.reason.startswith("unsupported: ") else intervening.retry
    try_again(farm.database, claim.claim_id, "it is open again", "hub:tiny")
    farm.plan()
    (again,) = [each for each in farm.claims() if each.live]
    return run_of(farm, again)


@ON_BOTH
@pytest.mark.parametrize(
    ("outcome", "stage", "again_at"),
    [
        # Again sooner than its worker said a word.
        (AttemptOutcome.NO_ACCESS, Stage.WAITING, None),
        (AttemptOutcome.MODEL_FAILED, Stage.WAITING, None),
        # Its benchmark was: a repo that is hidden is as one that is not there.
        (AttemptOutcome.SPEC_FAILED, Stage.WAITING, None),
        (AttemptOutcome.TIMED_OUT, Stage.RUNNING, Stage.RUNNING),
    ],
)
def test_a_run_that_was_closed_or_timed_out_while_it_was_under_way_is_begun_again_as_it_was(
    farm: ControlPlane, outcome: AttemptOutcome, stage: Stage, again_at: Stage | None
) -> None:
    say(farm, 50)
    if stage is Stage.WAITING:
        ended(farm, AttemptOutcome.HANDED_BACK, Stage.RUNNING)
    run = ended(farm, outcome, stage)
    assert run.state == ReproductionState.CANCELLED
    # And however often that comes again.
    for _ in range(2):
        anew = tried_again(farm)
        assert anew.reproduction_id != run.reproduction_id
        assert (anew.seed, anew.stopping) == (run.seed, run.stopping)
        ended(farm, outcome, again_at)


@ON_BOTH
@pytest.mark.parametrize(("asked_anew", "value"), [(False, 51), (True, 52), (True, 50)])
def test_a_run_that_was_taken_away_is_begun_again_for_who_asks_to_verify_its_claims_again(
    farm: ControlPlane, value: float, *, asked_anew: bool
) -> None:
    """For the claim that it was made for, and for another that joined a re-verification, which its run would answer."""
    mine = say(farm, 50, 51)
    if asked_anew:
        assert mine is not None
        complete(farm, 100)
        reverify(farm.database, mine.claim_id, "I doubt it", "hub:ada")
        farm.plan()
        mine = say(farm, 50, 52)
    ended(farm, AttemptOutcome.HANDED_BACK, Stage.RUNNING)
    run = ended(farm, AttemptOutcome.MODEL_FAILED, Stage.WAITING)
    assert run.state == ReproductionState.CANCELLED
    (joined,) = [each for each in farm.claims() if each.live and each.value == value]
    assert (joined.reproduction_id, joined.reason) == (run.reproduction_id, "failed: model_failed: the Hub hides it")
    again = reverify(farm.database, joined.claim_id, "it is open again", "hub:tiny").claim_id
    farm.plan()
    (claim,) = [each for each in farm.claims() if each.claim_id == again]
    anew = run_of(farm, claim)
    assert anew.reproduction_id != run.reproduction_id
    assert (anew.seed, anew.stopping, anew.asked_anew) == (run.seed, run.stopping, asked_anew)


@pytest.mark.parametrize(
    ("before", "outcome", "stage"),
    [
        (Stage.WAITING, AttemptOutcome.NO_ACCESS, None),
        # In a queue.
        (Stage.WAITING, AttemptOutcome.TIMED_OUT, None),
        # Its own weights do that, every time.
        (Stage.RUNNING, AttemptOutcome.MODEL_FAILED, Stage.STARTING_ENGINE),
        (Stage.RUNNING, AttemptOutcome.SPEC_FAILED, Stage.RUNNING),
    ],
)
def test_a_run_that_never_had_an_engine_or_failed_at_one_has_failed(
    farm: ControlPlane, before: Stage, outcome: AttemptOutcome, stage: Stage | None
) -> None:
    say(farm, 50)
    ended(farm, AttemptOutcome.HANDED_BACK, before)
    run = ended(farm, outcome, stage)
    assert run.state == ReproductionState.FAILED
    assert tried_again(farm).seed is None


@ON_BOTH
@pytest.mark.parametrize(
    ("how_far", "put_back"),
    [
        ("not planned", "in another file"),
        ("in the queue", "as it was"),
        ("under way", "with other notes"),
        ("edited meanwhile", "as it was"),
    ],
)
def test_a_re_verification_is_not_undone_by_taking_the_entry_away(
    farm: ControlPlane, how_far: str, put_back: str
) -> None:
    say(farm, 50)
    first = complete(farm, 100)
    (old,) = farm.claims()
    assert old.reason.startswith("verified: ")
    again = reverify(farm.database, old.claim_id, "I doubt it", "hub:ada").claim_id
    if how_far != "not planned":
        farm.plan()
    if how_far in ("under way", "edited meanwhile"):
        dispatch(farm.database, farm.policy)
    repeated = farm.reproductions()[-1]
    say(farm, *([51] if how_far == "edited meanwhile" else []))
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    notes = "number 0" if put_back == "as it was" else "an edit"
    name = "moved.yaml" if put_back == "in another file" else "results.yaml"
    text = entry(BENCHMARK, 50, more=f"  notes: {notes}\n")
    submit(farm.served.local, RepoName(RepoType.MODEL, MODEL), text, name=name)
    look(farm, 50)
    farm.plan()
    (back,) = [claim for claim in farm.claims() if claim.live and claim.value == 50]
    assert (back.claim_id != again, back.state) == (True, ClaimState.PLANNED)
    fresh = run_of(farm, back)
    assert fresh.reproduction_id != first, "its old verdict would stand for the one that was asked for"
    if how_far == "under way":
        with farm.database.reading() as session:
            seed = session.get_one(Reproduction, repeated.reproduction_id).seed
        assert fresh.seed == seed, "nor has it other luck than the run that was to decide it"


@ON_BOTH
@pytest.mark.parametrize("asked_anew", [False, True])
@pytest.mark.parametrize("first_back", [(), (51,), (51, 52)])
def test_claims_whose_shared_run_was_cancelled_share_one_run_again(
    farm: ControlPlane, first_back: list[float], *, asked_anew: bool
) -> None:
    entries = (51, 52, 53)
    run = run_of(farm, say(farm, *entries))
    if asked_anew:
        complete(farm, 100)
        for claim in farm.claims():
            reverify(farm.database, claim.claim_id, "I doubt it", "hub:ada")
        run = run_of(farm, look(farm, *entries))
    dispatch(farm.database, farm.policy)
    say(farm)
    reap(farm.database, farm.policy, *EMPTY_QUEUES)
    if first_back:
        say(farm, *first_back)
    say(farm, *entries)
    # One that awaits a fresh run is found to do so as it is planned.
    farm.plan()
    with farm.database.reading() as session:
        before = session.get_one(Reproduction, run.reproduction_id)
        living = select(Claim.reproduction_id).where(Claim.live, Claim.state == ClaimState.PLANNED)
        runs = session.scalars(living).all()
        assert len(runs) == len(entries)
        (anew,) = {session.get_one(Reproduction, each) for each in runs}
        of_them = select(Reproduction).where(Reproduction.asked_anew == asked_anew)
        assert session.scalars(of_them).all() in ([before, anew], [anew, before])
    assert before.state == ReproductionState.CANCELLED
    assert (anew.seed, anew.stopping, anew.joinable) == (before.seed, before.stopping, False)


@ON_BOTH
@pytest.mark.parametrize("value", [51, 52])
def test_a_second_fresh_run_that_is_begun_again_is_still_the_second_and_answers_what_comes_after(
    farm: ControlPlane, value: float
) -> None:
    """For the claim that it was cancelled with, or for another value."""
    say(farm, 50, 51, 52, 53)
    complete(farm, 100)

    def ask(value: float) -> str:
        (claim,) = [each for each in farm.claims() if each.live and each.value == value]
        asked = reverify(farm.database, claim.claim_id, "I doubt it", "hub:ada").claim_id
        farm.plan()
        dispatch(farm.database, farm.policy)
        return asked

    asked = {value: ask(value) for value in (50, 51)}
    _, first, second = farm.reproductions()
    assert [(run.asked_anew, run.stopping is None, run.joinable) for run in (first, second)] == [
        (True, False, False),
        (True, True, True),
    ]
    heard_of(farm, second)
    intervening.cancel(farm.database, asked[51], "it goes badly", "hub:tiny", operates=False)
    if value == 51:
        intervening.retry(farm.database, asked[51], "better luck", "hub:tiny")
        farm.plan()
        dispatch(farm.database, farm.policy)
    else:
        ask(value)
    anew = run_of(farm, look(farm, value))
    assert anew.reproduction_id != second.reproduction_id
    assert (anew.seed, anew.asked_anew, anew.stopping, anew.joinable) == (second.seed, True, None, True)
    heard_of(farm, anew)
    with pytest.raises(InterventionError, match="goes to its end"):
        intervening.cancel(farm.database, anew.reproduction_id, "it goes badly again", "hub:tiny", operates=False)
    ask(53)
    assert run_of(farm, look(farm, 53)).reproduction_id == anew.reproduction_id
    assert len(farm.reproductions()) == 4, "no third draw"
