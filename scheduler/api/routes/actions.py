"""What a caller can have done: cancel, try again, verify again, approve, publish, revoke.

A route checks who asks; what is done is one call into the control plane, recorded under the caller's name. What is
refused because of the state that a thing is in is a 409, and says why.

What acts is imported when it is first asked for: it brings the Hub's client and the statistics, which reading does not
need.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.api.callers.callers import Caller, Forbidden, Operator, Requester
from scheduler.api.callers.rights import (
    may,
    require_not_held,
    require_to_act,
    require_to_cancel,
    require_to_retry,
    require_to_speak_for,
)
from scheduler.api.dependencies import TheSource
from scheduler.api.ids import IdOrStart, whole_id
from scheduler.badges import revoking
from scheduler.database.session import Database
from scheduler.database.tables import Claim, Reproduction
from scheduler.requests import approving, publication
from specs.api_v1.actions import ApprovalReason, Done, Reason, VerificationRequest

router = APIRouter(prefix="/v1", tags=["actions"])


@router.post("/claims/{claim_id}/cancel")
def cancel_claim(source: TheSource, caller: Requester, claim_id: IdOrStart, asked: Reason) -> Done:
    """Cancel what is to be run for a claim; it waits until somebody has it tried again."""
    with source.database.reading() as session:
        claim = _claim(session, claim_id)
        require_to_cancel(session, caller, [claim])
        require_not_held(session, caller, [claim])
    from scheduler.requests import intervening  # noqa: PLC0415 - see the top

    lines = intervening.cancel(source.database, claim.claim_id, asked.why, caller.actor, operates=caller.operates)
    return _done(source.database, lines, [claim])


@router.post("/claims/{claim_id}/retry")
def retry_claim(source: TheSource, caller: Requester, claim_id: IdOrStart, asked: Reason) -> Done:
    """Have a claim tried again that waits, was cancelled, or failed."""
    with source.database.reading() as session:
        claim = _claim(session, claim_id)
        require_to_retry(session, caller, [claim])
    from scheduler.requests import intervening  # noqa: PLC0415 - see the top

    lines = intervening.retry(source.database, claim.claim_id, asked.why, caller.actor)
    return _done(source.database, lines, [claim])


@router.post("/claims/{claim_id}/reverify")
def reverify_claim(source: TheSource, caller: Requester, claim_id: IdOrStart, asked: Reason) -> Done:
    """Have a decided claim verified again, by a fresh run; its entry becomes a new claim."""
    with source.database.reading() as session:
        claim = _claim(session, claim_id)
        require_to_act(caller, [claim])
    from scheduler.requests import reverifying  # noqa: PLC0415 - see the top

    rules = source.policy.reverify
    done = reverifying.reverify(source.database, claim.claim_id, asked.why, caller.actor, rules=rules)
    return _done(source.database, done.lines, [claim])


@router.post("/claims/{claim_id}/publish")
def publish_claim(source: TheSource, caller: Requester, claim_id: IdOrStart, asked: Reason) -> Done:
    """Have the badge of a verified claim written on the Hub, where the farm's policy publishes."""
    with source.database.reading() as session:
        claim = _claim(session, claim_id)
        require_to_act(caller, [claim])
    rules = source.policy.publish
    lines = publication.request_publication(source.database, rules, claim.claim_id, asked.why, caller.actor)
    return _done(source.database, lines, [claim])


@router.post("/claims/{claim_id}/approve")
def approve_claim(source: TheSource, caller: Operator, claim_id: IdOrStart, asked: ApprovalReason) -> Done:
    """Approve what a claim is taken to cost, so that it is planned in the farm's next round."""
    with source.database.reading() as session:
        claim = _claim(session, claim_id)
    lines = approving.approve(
        source.database, claim.claim_id, caller.actor, over_budget=asked.over_budget, why=asked.why
    )
    return _done(source.database, lines, [claim])


@router.post("/reproductions/{reproduction_id}/cancel")
def cancel_reproduction(source: TheSource, caller: Requester, reproduction_id: IdOrStart, asked: Reason) -> Done:
    """Cancel a reproduction, queued or running, of which every claim is the caller's to cancel."""
    with source.database.reading() as session:
        found = whole_id(session, Reproduction.reproduction_id, reproduction_id, "reproduction")
        claims = _claims_of(session, found)
        _require_some(caller, claims)
        # Those that somebody holds already are left as they are.
        require_to_cancel(session, caller, claims)
    from scheduler.requests import intervening  # noqa: PLC0415 - see the top

    lines = intervening.cancel(source.database, found, asked.why, caller.actor, operates=caller.operates)
    return _done(source.database, lines, claims)


@router.post("/reproductions/{reproduction_id}/retry")
def retry_reproduction(source: TheSource, caller: Requester, reproduction_id: IdOrStart, asked: Reason) -> Done:
    """Have all claims of a reproduction tried again that wait, were cancelled, or failed."""
    with source.database.reading() as session:
        found = whole_id(session, Reproduction.reproduction_id, reproduction_id, "reproduction")
        claims = _claims_of(session, found)
        _require_some(caller, claims)
        require_to_retry(session, caller, claims)
    from scheduler.requests import intervening  # noqa: PLC0415 - see the top

    lines = intervening.retry(source.database, found, asked.why, caller.actor)
    return _done(source.database, lines, claims)


@router.post("/verifications", status_code=202)
def request_verification(source: TheSource, caller: Requester, asked: VerificationRequest) -> Done:
    """Have a model's claims on a benchmark verified, or verified again; a model not seen yet is looked at first."""
    from scheduler.requests import requesting  # noqa: PLC0415 - see the top

    with source.database.reading() as session:
        # Anybody has a namespace for a benchmark that there is not.
        watched = requesting.is_watched(session, asked.dataset)
        require_to_speak_for(caller, asked.model, asked.dataset, watched=watched)
        meant = requesting.claims_meant(session, asked)
        may_retry = {claim.claim_id for claim in meant if may(require_to_retry, session, caller, claim)}
    rules = source.policy.reverify
    found = requesting.request_verification(
        source.database,
        asked,
        caller.actor,
        may_retry,
        rules=rules,
        speaks_for_model=caller.speaks_for(asked.model),
    )
    return Done(lines=tuple(found.lines), claim_ids=tuple(found.claim_ids))


@router.post("/badges/{badge_id}/revoke")
def revoke_badge(source: TheSource, caller: Operator, badge_id: IdOrStart, asked: Reason) -> Done:
    """Have a badge count no more, by its id or its claim's: it is put on the public list of revocations."""
    with source.database.reading() as session:
        badge = revoking.find(session, badge_id)
        claim = session.get_one(Claim, badge.claim_id)
    lines = revoking.revoke(source.database, badge.badge_id, asked.why, caller.actor)
    return _done(source.database, lines, [claim])


def _claim(session: Session, start: str) -> Claim:
    return session.get_one(Claim, whole_id(session, Claim.claim_id, start, "claim"))


def _claims_of(session: Session, reproduction_id: str) -> Sequence[Claim]:
    return session.scalars(select(Claim).where(Claim.reproduction_id == reproduction_id, Claim.live)).all()


def _require_some(caller: Caller, claims: Sequence[Claim]) -> None:
    # Of one that no claim needs any more, nobody but the operator is the owner.
    if not claims and not caller.operates:
        raise Forbidden("no claim needs this reproduction any more, so it is the farm's operator's", "operate")


def _done(database: Database, lines: Sequence[str], claims: Sequence[Claim]) -> Done:
    """What was done, with the claims that now stand where these did: an entry may have become a new claim."""
    slots = {claim.slot for claim in claims}
    with database.reading() as session:
        living = session.scalars(
            select(Claim.claim_id).where(Claim.slot.in_(slots), Claim.live).order_by(Claim.created_at, Claim.claim_id)
        ).all()
    return Done(lines=tuple(lines), claim_ids=tuple(living))
