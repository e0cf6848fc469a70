"""What judging a claim will cost, as the API's model."""

from __future__ import annotations

from sqlalchemy.orm import Session

from scheduler.api.problems import NothingToRun, NotPlannedYet, TooManyPlans
from scheduler.api.turns import Turns
from scheduler.database.tables import Claim
from scheduler.judging.history import EARLIER_RUNS, EarlierRuns
from scheduler.judging.stopping import asks_every_sample
from scheduler.planning.joinable_runs import waiting_apart
from scheduler.planning.task_history import earlier_runs, known_samples
from scheduler.state_machine import ClaimState
from scheduler.stored_values import OtherVersion, read_known
from specs.api_v1.plan import ClaimPlan, PlanCase, SamplesSource
from specs.judging.forecast import Forecast, Foreseen, forecast

_turns = Turns(TooManyPlans, "what judging their claims will cost")


def plan_view(session: Session, claim: Claim, given: int | None, *, who: str) -> ClaimPlan:
    """The plan of a claim, on a number of samples that was `given`, else on what the farm knows of them.

    `who` asks, as they are counted: a caller who is known, or an address. It closes the session before it simulates
    runs, which may take seconds, and more of waiting for its turn.

    Raises:
        NotPlannedYet: the claim was not looked at yet.
        NothingToRun: it will never be run.
        TooManyPlans: the turn to simulate does not come soon, or another of theirs waits for it.
    """
    if claim.foreseen is None or claim.dataset_id is None:
        raise _why_not(claim)
    foreseen = _foreseen(session, claim)
    place = (claim.dataset_id, foreseen.dataset_revision, foreseen.task_id)
    known = known_samples(session, *place, foreseen.card_samples)
    samples: int | None = known.samples if known else None
    source: SamplesSource | None = known.source if known else None
    if given is not None:
        samples, source = given, "given"
    sequential = foreseen.mode == "sequential" and not foreseen.every_sample
    linked_log = sequential and (claim.linked_log or {}).get("log") is not None
    by_history = sequential and foreseen.history
    earlier = earlier_runs(session, *place, claim.reproduction_id, EARLIER_RUNS) if by_history else 0
    session.close()
    found = _in_turn(foreseen, samples, who) if samples is not None else None
    return ClaimPlan(
        claim_id=claim.claim_id,
        model=claim.model_id,
        dataset=claim.dataset_id,
        dataset_revision=foreseen.dataset_revision,
        task=foreseen.task_id,
        claimed=foreseen.claimed,
        samples=samples,
        samples_source=source,
        mode=foreseen.mode,
        alpha=foreseen.alpha,
        minimum_samples=foreseen.minimum_samples,
        sample_limit=foreseen.sample_limit,
        epochs=foreseen.epochs,
        every_sample=foreseen.every_sample or (foreseen.mode == "full" and foreseen.sample_limit is None),
        tolerance=found.tolerance if found else foreseen.tolerance,
        noise=found.noise if found else None,
        doubtful_beyond=found.doubtful_beyond if found else None,
        cases=_cases(found) if found else (),
        gpu_seconds=claim.gpu_seconds,
        gpu_seconds_basis=claim.gpu_seconds_basis,
        linked_log=linked_log,
        earlier_runs=earlier,
        words=(*(found.words if found else (_nobody_knows(claim, foreseen),)), *_guides(linked_log, earlier)),
    )


def _in_turn(foreseen: Foreseen, samples: int, who: str) -> Forecast:
    # Each number of samples is simulated anew, and anybody may give any.
    with _turns.turn_of(who):
        return forecast(foreseen, samples)


def _foreseen(session: Session, claim: Claim) -> Foreseen:
    """As it was when the claim was planned; whether its run asks every sample may be another matter since."""
    found = read_known(Foreseen, claim.foreseen)
    run = claim.reproduction
    if run is None:
        return found
    try:
        sent, claims = EarlierRuns(session).one_was_sent(run), waiting_apart(session, run)
        every = asks_every_sample(run, one_was_sent=sent, claims=claims)
    except OtherVersion:
        return found
    # One that was complete already asked nothing for this claim.
    return found.model_copy(update={"every_sample": every or (run.complete and found.every_sample)})


def _cases(found: Forecast) -> tuple[PlanCase, ...]:
    return tuple(
        PlanCase(
            off_by=case.off_by,
            true_score=case.expected.true_score,
            samples=round(case.expected.mean_samples, 1),
            part=case.expected.mean_samples / found.samples,
            verified=case.expected.verified,
            mismatch=case.expected.mismatch,
            undecided=case.expected.undecided,
            verdict=case.verdict,
        )
        for case in found.cases
    )


def _guides(linked_log: bool, earlier: int) -> tuple[str, ...]:
    """Who predicts answers. By how much that shortens a run depends on the answers, so nobody can say before it."""
    guides = ["the log that the claim links to"] if linked_log else []
    if earlier:
        # Its cost was reckoned with those that there were when it was planned.
        guides.append(f"{earlier} other run{'s' if earlier > 1 else ''} completed by now")
    return (f"fewer with the predictions of {' and of '.join(guides)}",) if guides else ()


def _nobody_knows(claim: Claim, foreseen: Foreseen) -> str:
    return (
        f"how many samples the task has is not known: no run of it on {claim.dataset_id} at"
        f" {foreseen.dataset_revision[:12]} is complete, and no card read at that revision says it"
    )


def _why_not(claim: Claim) -> NotPlannedYet | NothingToRun:
    if claim.state == ClaimState.SUBMITTED:
        return NotPlannedYet(f"claim {claim.claim_id} was not looked at yet: the farm plans it in its next round")
    why = f"it is {claim.state}, because {claim.reason}"
    return NothingToRun(f"there is nothing to run for claim {claim.claim_id}: {why}")
