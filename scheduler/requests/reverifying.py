"""A claim that has its verdict is verified again: the same entry, as a new claim, that demands a fresh run.

The old claim keeps its verdict and its badge; what becomes of that badge is decided by what comes out
(docs/decisions/0018).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, literal, or_, select
from sqlalchemy.orm import Session

from scheduler.admission.priorities import PERIODIC_PRIORITY, REQUESTED_PRIORITY
from scheduler.database.session import Database
from scheduler.database.tables import Benchmark, Claim, Reproduction, now
from scheduler.planning.freshness import answered_until
from scheduler.record import SCHEDULER, add_event
from scheduler.requests.locking import find_claim
from scheduler.requests.resubmitting import submit_again
from scheduler.state_machine import ACTIVE, ClaimState, ReproductionState
from scheduler.watch.staleness import changed_since
from specs.api_v1.actions import MAX_WHY_CHARS
from specs.errors import InterventionError
from specs.judging.verdict import Outcome
from specs.policy.reverify import ReverifyRules
from specs.text import clean


@dataclass(frozen=True)
class Asked:
    """What a request came to."""

    claim_id: str
    """The claim that the request is answered by."""

    lines: tuple[str, ...]
    """What was done."""


def reverify(
    database: Database,
    target: str,
    why: str,
    actor: str,
    *,
    rules: ReverifyRules,
) -> Asked:
    """Have a claim verified again.

    `target` is the claim's id or enough of its beginning. A request for what is under way joins it.

    Raises:
        InterventionError: there is no such claim, or it cannot be verified again now; says why.
    """
    with database.transaction() as session:
        claim = find_claim(session, target)
        return ask_for(session, claim, clean(why, MAX_WHY_CHARS), actor, REQUESTED_PRIORITY, rules=rules)


def ask_for(session: Session, claim: Claim, why: str, actor: str, priority: int, *, rules: ReverifyRules) -> Asked:
    """The same for a claim that the caller holds locked.

    Raises:
        InterventionError: as above.
    """
    if claim.state == ClaimState.WITHDRAWN:
        now_is = f"; its entry is claim {claim.superseded_by} now" if claim.superseded_by else ""
        raise InterventionError(f"claim {claim.claim_id} is withdrawn{now_is}")
    if claim.state == ClaimState.REJECTED:
        raise InterventionError(f"claim {claim.claim_id} cannot be read, so there is nothing to verify: {claim.reason}")
    if claim.state != ClaimState.DECIDED:
        return _join(session, claim, why, actor, priority)
    if session.scalar(select(Benchmark.unlisted_at).where(Benchmark.dataset_id == claim.dataset_id)) is not None:
        # Its new claim would be unsupported before long, in place of a verdict that holds.
        raise InterventionError(
            f"{claim.dataset_id} is not among the benchmarks that this farm watches any more, so claim"
            f" {claim.claim_id} keeps its verdict; it can be verified again once the benchmark is listed again"
        )
    outcome = claim.verdict.outcome if claim.verdict is not None else "decided"
    if outcome not in (Outcome.FAILED, Outcome.UNSUPPORTED):
        # Of those no run found anything out: whoever mends what was wrong would wait a day for nothing.
        _refuse_too_soon(session, claim, rules)
    cut_off = _was_cut_off(claim)
    said = clean(f"to be verified again, asked for by {actor}: {why}", MAX_WHY_CHARS)
    anew = submit_again(session, claim, said, f"after claim {claim.claim_id} was {outcome}", actor)
    # Else whoever saw it go badly could take it away, and ask for other luck.
    anew.asked_priority, anew.fresh_after = priority, claim.fresh_after if cut_off else now()
    then = "planned as it was" if cut_off else "which a fresh run decides"
    return Asked(
        anew.claim_id,
        (
            f"claim {claim.claim_id} keeps its verdict, {outcome}, and is withdrawn",
            f"the same entry is now claim {anew.claim_id}, {then}",
        ),
    )


def _was_cut_off(claim: Claim) -> bool:
    """Whether a decided claim's run, begun already, was not let go on: that is begun again, as by `retry`."""
    run = claim.reproduction
    return run is not None and run.state == ReproductionState.CANCELLED


def _join(session: Session, claim: Claim, why: str, actor: str, priority: int) -> Asked:
    """A request for a claim that is on its way: it may come sooner, and nothing else changes."""
    if claim.state == ClaimState.BLOCKED and claim.recheck_at is None and not claim.awaits_approval:
        raise InterventionError(
            f"claim {claim.claim_id} was cancelled and is not tried again by itself: {claim.reason}"
        )
    add_event(session, actor, "claim", claim.claim_id, "requested", f"under way already: {why}")
    _hasten(session, claim, priority)
    waits = f" ({claim.reason})" if claim.state == ClaimState.BLOCKED else ""
    return Asked(
        claim.claim_id, (f"claim {claim.claim_id} is {claim.state}{waits}: your request joins what is under way",)
    )


def _hasten(session: Session, claim: Claim, priority: int) -> None:
    run = claim.reproduction if claim.state == ClaimState.PLANNED else None
    # What the farm repeats by itself gives way to nothing that somebody submitted: an unasked claim stays as it is.
    if priority < PERIODIC_PRIORITY and (claim.asked_priority is None or priority < claim.asked_priority):
        claim.asked_priority = priority
        if run is not None and run.state in ACTIVE and priority < run.priority:
            run.priority = priority
            why = f"claim {claim.claim_id} was asked for"
            add_event(session, SCHEDULER, "reproduction", run.reproduction_id, "priority", why)


def asked_of_same_score(
    again: type[Claim], its_run: type[Reproduction], claim: Claim | type[Claim], run: Reproduction | type[Reproduction]
) -> ColumnElement[bool]:
    """Whether a claim is one of the same score as another, measured as that was in its `run`.

    By the run's key, not the entry's slot: with other notes or in another file it would be run just so.
    """
    return and_(again.value == claim.value, asked_together(again, its_run, claim, run))


def asked_together(
    again: type[Claim], its_run: type[Reproduction], claim: Claim | type[Claim], run: Reproduction | type[Reproduction]
) -> ColumnElement[bool]:
    """The same of any value.

    But who claims an author's score on a pull request, and has that verified again, does not keep the author waiting.
    """
    return and_(
        # The first two follow from the key, and have an index.
        its_run.weights_sha256 == run.weights_sha256,
        its_run.dataset_id == run.dataset_id,
        its_run.key == run.key,
        or_(literal("main") != claim.ref, again.ref == claim.ref),
    )


def _refuse_too_soon(session: Session, claim: Claim, rules: ReverifyRules) -> None:
    """Nothing, unless policy has the verdict that a run gave stand for now.

    Raises:
        InterventionError: it does, and until when.
    """
    wait = _cooldown_ends(session, claim, rules)
    if wait is not None:
        raise InterventionError(
            f"the score of claim {claim.claim_id} was verified again not long ago, and its verdict stands; policy"
            f" allows the next from {wait:%Y-%m-%d %H:%M} UTC, or after a new commit of the model or the benchmark"
        )
    until = answered_until(session, claim, rules)
    if until is not None and changed_since(session, claim) is None:
        raise InterventionError(
            f"claim {claim.claim_id} was decided by a fresh run, which would answer it again, and its verdict stands;"
            f" policy allows the next from {until:%Y-%m-%d %H:%M} UTC, or after a new commit of the model or the"
            " benchmark"
        )


def _cooldown_ends(session: Session, claim: Claim, rules: ReverifyRules) -> datetime | None:
    """When the score may be verified again; None where it may now."""
    latest = session.scalar(select(func.max(Claim.fresh_after)).where(Claim.slot == claim.slot))
    run = claim.reproduction
    if run is not None:
        same_score = asked_of_same_score(Claim, Reproduction, claim, run)
        of_others = session.scalar(select(func.max(Claim.fresh_after)).join(Claim.reproduction).where(same_score))
        latest = max((at for at in (latest, of_others) if at is not None), default=None)
    if latest is None:
        return None
    ends = latest + timedelta(seconds=rules.cooldown_seconds)
    return None if ends <= now() or changed_since(session, claim) is not None else ends
