"""On which claims a caller may act.

Operators act on all. Who requests acts on claims of models and benchmarks in their namespaces, and takes back only what
is theirs: what is to be run for their own models, what they submitted, and what they asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.api.callers.callers import Caller, Forbidden
from scheduler.database.tables import Claim, Event
from scheduler.record import BY_AN_OPERATOR, SCHEDULER
from scheduler.state_machine import ClaimState

MAX_NAMED = 20


def require_to_act(caller: Caller, claims: Sequence[Claim]) -> None:
    """Refuse a caller who may not have these claims verified, tried again or published.

    Raises:
        Forbidden: some are of models and benchmarks of others.
    """
    if not caller.operates:
        for claim in claims:
            require_to_speak_for(caller, claim.model_id, claim.dataset_id)


def require_to_speak_for(caller: Caller, model_id: str, dataset_id: str | None, *, watched: bool = True) -> None:
    """Refuse a caller who speaks neither for a model nor for a benchmark, which gives no right unless it is watched.

    Raises:
        Forbidden: both are in namespaces of others, or the benchmark is not watched.
    """
    if caller.speaks_for(model_id, dataset_id if watched else None):
        return
    theirs = sorted(caller.namespaces or ())
    named = ", ".join(theirs[:MAX_NAMED]) + (" and others" if len(theirs) > MAX_NAMED else "") or "none"
    asked_for = (model_id, dataset_id if watched else None)
    wanted = {repo_id.partition("/")[0] for repo_id in asked_for if repo_id is not None}
    unwatched = ""
    if not watched and caller.speaks_for(dataset_id):
        # Listed again, it may be asked for: nobody is to look for what is wrong with their namespaces.
        unwatched = f". {dataset_id} is yours, but not among the benchmarks that this farm watches just now"
    raise Forbidden(
        f"you act for the namespaces {named}; this asks for {' or '.join(sorted(wanted))}: an administrator of it on"
        f" the Hub can do it, or the farm's operator{unwatched}",
        "request",
    )


def require_to_cancel(session: Session, caller: Caller, claims: Sequence[Claim]) -> None:
    """Refuse a caller who may not take back what is to be run for these claims.

    Raises:
        Forbidden: a claim is of somebody else's model, and was asked for by somebody else.
    """
    if caller.operates:
        return
    for claim in claims:
        if not caller.speaks_for(claim.model_id) and not _asked_for(session, caller, claim):
            raise Forbidden(
                f"claim {claim.claim_id} is of the model {claim.model_id} and was not asked for by you: whoever asked,"
                " an administrator of the model's namespace, or the farm's operator can cancel it",
                "request",
            )


def require_to_retry(session: Session, caller: Caller, claims: Sequence[Claim]) -> None:
    """Refuse a caller who may not have these claims tried again.

    Raises:
        Forbidden: they are of others, or an operator or another token cancelled them.
    """
    require_to_act(caller, claims)
    require_not_held(session, caller, claims)


def require_not_held(session: Session, caller: Caller, claims: Sequence[Claim]) -> None:
    """Refuse a caller who is no operator where claims were cancelled by an operator or another token.

    To cancel such a claim once more, too: whoever cancels it last holds it, and may have it tried again.

    Raises:
        Forbidden: some were.
    """
    if caller.operates:
        return
    for claim in claims:
        canceller = _canceller(session, claim)
        if canceller is not None and canceller != caller.actor:
            raise Forbidden(
                f"claim {claim.claim_id} was cancelled by {canceller}, who can have it tried again, as can the farm's"
                " operator",
                "operate",
            )


def may(
    require: Callable[[Session, Caller, Sequence[Claim]], None], session: Session, caller: Caller, claim: Claim
) -> bool:
    """Whether one of the above lets a caller do it to a claim."""
    try:
        require(session, caller, [claim])
    except Forbidden:
        return False
    return True


def _asked_for(session: Session, caller: Caller, claim: Claim) -> bool:
    # Whoever submitted a claim, or had its entry become a new one, is the actor of its first event.
    first = (
        select(Event.actor)
        .where(Event.subject == "claim", Event.subject_id == claim.claim_id)
        .order_by(Event.event_id)
        .limit(1)
    )
    return session.scalar(first) == caller.actor


def _canceller(session: Session, claim: Claim) -> str | None:
    """The operator or token that holds a blocked claim; None where a maintainer does, the farm itself, or nobody."""
    if claim.state != ClaimState.BLOCKED:
        return None
    last = (
        select(Event.actor, Event.why)
        .where(Event.subject == "claim", Event.subject_id == claim.claim_id, Event.what == ClaimState.BLOCKED)
        .order_by(Event.event_id.desc())
        .limit(1)
    )
    found = session.execute(last).first()
    if found is None or found.actor == SCHEDULER:
        return None
    # What comes after the name is the farm's own: a maintainer's words begin behind a colon.
    by_maintainer = found.actor.startswith("hub:") and not found.why.startswith(
        f"cancelled by {found.actor}{BY_AN_OPERATOR}"
    )
    return None if by_maintainer else found.actor
