"""What an operator does to claims and reproductions by hand: cancel, and have tried again.

Each call is one transaction, recorded under the operator's name; the worker is told through the outbox.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.collect.ending import close
from scheduler.collect.waiting_claims import waiting_for
from scheduler.database.id_prefixes import begins
from scheduler.database.session import Database
from scheduler.database.tables import Claim, Reproduction
from scheduler.messaging import outbox
from scheduler.planning.begun_again import is_operators_to_cancel
from scheduler.record import BY_AN_OPERATOR, move_claim, move_reproduction
from scheduler.requests.locking import lock
from scheduler.requests.resubmitting import submit_again
from scheduler.state_machine import ACTIVE, ClaimState, ReproductionState
from specs.api_v1.views import MIN_ID_PREFIX
from specs.errors import InterventionError
from specs.judging.verdict import Outcome
from specs.messages import CONTROL_QUEUE, AttemptOutcome

DROP = "scheduler.drop"
"""Celery task of the control queue; body: {"reproduction_id", "attempt", "batch_id", "worker"}."""


def cancel(database: Database, target: str, why: str, operator: str, *, operates: bool = True) -> list[str]:
    """Cancel a reproduction, or what is to be run for a claim; what was done, line by line.

    `target` is the id of either, or enough of its beginning. The claims wait until somebody has them tried again. Who
    has no right to operate, a maintainer of the model, says so by `operates`.

    Raises:
        InterventionError: there is no such thing, or nothing of it is left to cancel; or it is an operator's to cancel,
            as it was cancelled under way before.
    """
    with database.transaction() as session:
        found = _find(session, target)
        if isinstance(found, Reproduction):
            return _cancel_reproduction(session, found, why, operator, operates=operates)
        return _cancel_claim(session, found, why, operator, operates=operates)


def retry(database: Database, target: str, why: str, operator: str) -> list[str]:
    """Have a claim that was cancelled, waits or failed tried again, or all such claims of a reproduction.

    A verdict is final, so a claim that failed is withdrawn and the same entry becomes a new claim.

    Raises:
        InterventionError: there is no such thing, or nothing of it to try again.
    """
    with database.transaction() as session:
        found = _find(session, target)
        if isinstance(found, Claim):
            return _retry_claim(session, found, why, operator)
        # Locked, or one could be withdrawn, or become another claim, meanwhile. Not those that are submitted: a planner
        # may hold them, and wait for this reproduction.
        claims = select(Claim).where(
            Claim.reproduction_id == found.reproduction_id,
            Claim.live,
            Claim.state.in_((ClaimState.BLOCKED, ClaimState.DECIDED)),
        )
        in_order = session.scalars(claims.order_by(Claim.claim_id).with_for_update())
        again = [claim for claim in in_order if _may_be_retried(claim)]
        if not again:
            raise InterventionError(
                f"reproduction {found.reproduction_id} is {found.state}, and no claim of it waits or failed"
            )
        return [line for claim in again for line in _retry_claim(session, claim, why, operator)]


def _find(session: Session, target: str) -> Claim | Reproduction:
    """The claim or reproduction whose id begins so, locked.

    A claim's reproduction is locked before it, in the order in which reports lock them.
    """
    if len(target) < MIN_ID_PREFIX:
        raise InterventionError(f"{target!r}: give at least {MIN_ID_PREFIX} characters of the id")
    runs = session.scalars(select(Reproduction).where(begins(Reproduction.reproduction_id, target)).limit(2)).all()
    claims = session.scalars(select(Claim).where(begins(Claim.claim_id, target)).limit(2)).all()
    if len(runs) + len(claims) != 1:
        raise InterventionError(f"{'several things have' if runs or claims else 'nothing has'} an id like {target}")
    if runs:
        return session.get_one(Reproduction, runs[0].reproduction_id, with_for_update=True, populate_existing=True)
    return lock(session, claims[0].claim_id)


def _cancel_reproduction(
    session: Session, reproduction: Reproduction, why: str, operator: str, *, operates: bool
) -> list[str]:
    if reproduction.state not in ACTIVE:
        raise InterventionError(f"reproduction {reproduction.reproduction_id} is {reproduction.state} already")
    if not operates:
        _refuse_to_cancel_twice(session, reproduction)
    done = _stop(session, reproduction, why, operator)
    for claim in waiting_for(session, reproduction.reproduction_id):
        done += _hold(session, claim, why, operator, operates=operates)
    return done


def _cancel_claim(session: Session, claim: Claim, why: str, operator: str, *, operates: bool) -> list[str]:
    if claim.state == ClaimState.BLOCKED:
        move_claim(session, claim, ClaimState.SUBMITTED, f"taken up by {operator}", operator)
    if claim.state not in (ClaimState.SUBMITTED, ClaimState.PLANNED):
        raise InterventionError(f"claim {claim.claim_id} is {claim.state}: nothing is to be run for it")
    run = claim.reproduction if claim.state == ClaimState.PLANNED else None
    done = _hold(session, claim, why, operator, operates=operates)
    if run is None or run.state not in ACTIVE:
        return done
    others = sum(other.state == ClaimState.PLANNED for other in run.claims)
    if others:
        return [*done, f"reproduction {run.reproduction_id} goes on for {others} other claims"]
    if not operates:
        _refuse_to_cancel_twice(session, run)
    return [*_stop(session, run, why, operator), *done]


def _refuse_to_cancel_twice(session: Session, reproduction: Reproduction) -> None:
    if is_operators_to_cancel(session, reproduction):
        raise InterventionError(
            f"reproduction {reproduction.reproduction_id} was cut off under way once and begun again: it goes to its"
            " end, unless the farm's operator cancels it"
        )


def _stop(session: Session, reproduction: Reproduction, why: str, operator: str) -> list[str]:
    worker, was = reproduction.worker, reproduction.state
    said = f"cancelled by {operator}: {why}"
    if was != ReproductionState.QUEUED:
        close(session, reproduction, AttemptOutcome.CANCELLED, said)
    move_reproduction(session, reproduction, ReproductionState.CANCELLED, said, operator)
    done = [f"reproduction {reproduction.reproduction_id}, which was {was}, is cancelled"]
    # One that no worker took yet is dropped by its worker's first heartbeat.
    if worker is not None:
        body = {
            "reproduction_id": reproduction.reproduction_id,
            "attempt": reproduction.attempt,
            "batch_id": reproduction.batch_id,
            "worker": worker,
        }
        outbox.put(session, queue=CONTROL_QUEUE, task=DROP, body=body)
        done.append(f"worker {worker} is told to stop it")
    return done


def _hold(session: Session, claim: Claim, why: str, operator: str, *, operates: bool) -> list[str]:
    """Have a claim wait for an operator; not looked at again by itself, unlike other blocked ones."""
    who = operator if operator.startswith(("hub:", "token:")) else "the farm's operator"
    if operates and operator.startswith("hub:"):
        who += BY_AN_OPERATOR
    command = f"`reprofarm retry {claim.claim_id}`"
    # What a maintainer cancelled, each of the model's and the benchmark's maintainers may have tried again.
    held = operates or not operator.startswith("hub:")
    then = f"the farm's operator can have it planned again ({command})" if held else f"{command} has it planned again"
    reason = f"cancelled by {who}: {why}; {then}"
    move_claim(session, claim, ClaimState.BLOCKED, reason, operator)
    return [f"claim {claim.claim_id} waits until it is tried again: reprofarm retry {claim.claim_id}"]


def _may_be_retried(claim: Claim) -> bool:
    failed = claim.verdict is not None and claim.verdict.outcome == Outcome.FAILED
    return claim.state == ClaimState.BLOCKED or (claim.state == ClaimState.DECIDED and failed)


def _retry_claim(session: Session, claim: Claim, why: str, operator: str) -> list[str]:
    if not _may_be_retried(claim):
        stands = f"has its verdict, {claim.verdict.outcome}, which stands" if claim.verdict else f"is {claim.state}"
        instead = (
            "; it can be verified again instead (`reprofarm reverify`)" if claim.state == ClaimState.DECIDED else ""
        )
        raise InterventionError(
            f"claim {claim.claim_id} {stands}: only what failed or waits for somebody is retried{instead}"
        )
    said = f"tried again by {operator}: {why}"
    if claim.state == ClaimState.BLOCKED:
        move_claim(session, claim, ClaimState.SUBMITTED, said, operator)
        return [f"claim {claim.claim_id} is planned again"]
    anew = submit_again(session, claim, said, f"after claim {claim.claim_id} failed", operator)
    # What it was asked for with, it is tried again with.
    anew.asked_priority, anew.fresh_after = claim.asked_priority, claim.fresh_after
    return [f"claim {claim.claim_id} keeps its verdict and is withdrawn; the same entry is now claim {anew.claim_id}"]
