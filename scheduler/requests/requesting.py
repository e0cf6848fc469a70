"""A maintainer asks that a model's claims on a benchmark are verified, or verified again.

Each call is recorded under its actor. What a request leads to passes the operator's budgets like everything else: a
claim that is tried again or becomes a new one is planned afresh.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from scheduler.database.session import Database
from scheduler.database.tables import Benchmark, Claim, Model, OutboxRow, now
from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Missing, Moved
from scheduler.messaging import outbox
from scheduler.record import SCHEDULER, add_event
from scheduler.requests.intervening import retry
from scheduler.requests.reverifying import reverify
from scheduler.requests.revisions import at_revision
from scheduler.state_machine import ClaimState
from scheduler.watch.models import look_at_model
from specs.api_v1.actions import VerificationRequest
from specs.errors import InterventionError, NoAccess, SubmissionError
from specs.messages import CONTROL_QUEUE
from specs.policy.reverify import ReverifyRules
from specs.text import clean

LOOK_AT_WANTED = "scheduler.look"
"""Celery task of the control queue, read from the outbox alone.

Body: {"request": a `VerificationRequest`, "actor", "speaks_for_model"}.
"""

log = logging.getLogger(__name__)

MAX_CLAIMS = 100
"""Of one request."""

TRIED_FOR = timedelta(hours=20)
"""To look at a model that somebody asked for, pauses included. Shorter than what was sent stays in the outbox."""

SILENT_FOR = timedelta(hours=1)
"""Since its next try was due: longer than that takes to begin."""

LONGEST_PAUSE_SECONDS = 600.0
"""Between two tries while the Hub or the database is away, unless the Hub says more.

What waits for longer does so in the outbox: the broker hands out anew what nobody was done with for an hour, and each
copy would be tried."""


@dataclass
class Requested:
    """What a request came to."""

    lines: list[str] = field(default_factory=list)
    claim_ids: list[str] = field(default_factory=list)


def is_watched(session: Session, dataset_id: str) -> bool:
    """Whether a benchmark is on the list, whether or not it could be read yet."""
    benchmark = session.get(Benchmark, dataset_id)
    return benchmark is not None and benchmark.unlisted_at is None


def request_verification(
    database: Database,
    request: VerificationRequest,
    actor: str,
    may_retry: set[str],
    *,
    rules: ReverifyRules,
    speaks_for_model: bool = True,
) -> Requested:
    """Have what the farm knows of verified, and have a model that it does not know looked at first.

    Of claims that somebody cancelled, only `may_retry` are tried again. Who does not speak for the model has no private
    one looked at.
    """
    with database.reading() as session:
        model = session.get(Model, request.model)
        is_known = model is not None and model.looked_at is not None and _is_there(request, model)
        watched = is_watched(session, request.dataset)
        claims = claims_meant(session, request) if is_known else []
    unwatched = [] if watched else [f"{request.dataset} is not among the benchmarks that this farm watches, so far"]
    if claims:
        found = _verify(database, claims, _Asking(request.why, actor, may_retry, rules))
        found.lines += unwatched
        return found
    with database.transaction() as session:
        body: dict[str, Any] = {
            "request": request.model_dump(mode="json"),
            "actor": actor,
            "speaks_for_model": speaks_for_model,
        }
        outbox.put(session, queue=CONTROL_QUEUE, task=LOOK_AT_WANTED, body=body)
        add_event(session, actor, "model", request.model, "requested", f"{_wanted(request)}: {request.why}")
    why = "has no such claim" if is_known else "is not known here as it is asked for"
    return Requested(
        [
            f"{request.model} {why}, so the farm looks at it on the Hub first",
            f"claims on {_wanted(request)} that it finds there are verified in its next rounds: follow"
            f" them with `reprofarm claims --model {request.model}`, or at /v1/claims?model={request.model}",
            *unwatched,
        ]
    )


def answer(database: Database, hub: Hub, message_id: str, rules: ReverifyRules) -> None:
    """Do what a message in the outbox asks for, once.

    Every worker can write into the control queue, and could ask in anybody's name; the outbox is the control plane's.

    Raises:
        HubAway: the Hub does not answer; try again later.
    """
    with database.reading() as session:
        message = session.get(OutboxRow, message_id)
    if message is None or message.task != LOOK_AT_WANTED:
        log.warning("a request that is not in the outbox, or was answered, is passed over: %s", clean(message_id, 100))
        return
    request = VerificationRequest.model_validate(message.body["request"])
    # One from before that was said may be anybody's.
    speaks_for_model = message.body.get("speaks_for_model") is True
    look_and_verify(database, hub, request, str(message.body["actor"]), rules, speaks_for_model=speaks_for_model)
    with database.transaction() as session:
        session.execute(delete(OutboxRow).where(OutboxRow.message_id == message_id))


def goes_on(database: Database, message_id: str, why: str, delay_seconds: float) -> bool:
    """Whether what a message in the outbox asks for, which could not be done, is to be tried again after so long.

    Where it was tried for long enough, or would have been until then, that is said on the record.
    """
    with database.transaction() as session:
        message = session.get(OutboxRow, message_id, with_for_update=True)
        if message is None or message.task != LOOK_AT_WANTED:
            return False
        pause = timedelta(seconds=delay_seconds)
        if message.created_at < now() + pause - TRIED_FOR:
            _give_up(session, message, why)
            return False
        # It is silent from then on only; or sent again then, as if it had been silent.
        message.sent_at = now() + pause - (SILENT_FOR if waits_in_outbox(delay_seconds) else timedelta())
        return True


def waits_in_outbox(delay_seconds: float) -> bool:
    """Whether what is to be tried again after so long is sent again then, and not to be kept by the broker."""
    return delay_seconds > LONGEST_PAUSE_SECONDS


def send_lost_again(database: Database) -> int:
    """Send once more what nobody has heard of for long: the broker lost it, or who looked was killed; returns how many.

    Both may do what it asks for, if it was only late: that is done once.
    """
    silent = (OutboxRow.task == LOOK_AT_WANTED, OutboxRow.sent_at < now() - SILENT_FOR)
    with database.transaction() as session:
        messages = session.scalars(
            select(OutboxRow).where(*silent).order_by(OutboxRow.message_id).with_for_update(skip_locked=True)
        ).all()
        for message in messages:
            if message.created_at < now() - TRIED_FOR:
                _give_up(session, message, "nobody who looked came to an end")
            else:
                message.sent_at = None
        return len(messages)


def _give_up(session: Session, message: OutboxRow, why: str) -> None:
    request = VerificationRequest.model_validate(message.body["request"])
    said = f"asked by {message.body['actor']}: could not be looked at, as {why}; ask again"
    add_event(session, SCHEDULER, "model", request.model, "looked_at", said)
    session.delete(message)


def look_and_verify(
    database: Database,
    hub: Hub,
    request: VerificationRequest,
    actor: str,
    rules: ReverifyRules,
    *,
    speaks_for_model: bool = True,
) -> None:
    """Look at the model of a request, and have what is decided already verified again.

    Raises:
        HubAway: the Hub does not answer; try again later.
    """
    try:
        if not speaks_for_model:
            _require_public(hub, request.model)
        look_at_model(database, hub, request.model, hub.own_name())
    except Moved as moved:
        _say(database, request, actor, f"{moved}: ask for it by that id")
        return
    except Missing:
        _say(database, request, actor, "the Hub has no such model, or does not show it to the farm")
        return
    except (NoAccess, SubmissionError) as error:
        _say(database, request, actor, f"it could not be read: {error}")
        return
    with database.reading() as session:
        claims = claims_meant(session, request)
    if claims:
        _verify(database, claims, _Asking(request.why, actor, set(), rules))
    else:
        _say(database, request, actor, f"it has no claim on {_wanted(request)}")


def _require_public(hub: Hub, model_id: str) -> None:
    """Pass over a private model as if there were none: the farm's token may open what whoever asks cannot read.

    Raises:
        Missing: it is private, or there is none.
        HubAway, NoAccess, SubmissionError: it could not be asked for.
    """
    try:
        private = hub.model(model_id).private
    except Moved as moved:
        # Where it is now is nobody else's business either.
        private = hub.model(moved.now_at).private
    if private:
        raise Missing(f"{model_id}: not shown to everybody")


def claims_meant(session: Session, request: VerificationRequest) -> Sequence[Claim]:
    """The living claims that a request is about."""
    conditions: list[ColumnElement[bool]] = [
        Claim.model_id == request.model,
        Claim.dataset_id == request.dataset,
        Claim.live.is_(True),
    ]
    if request.task is not None:
        conditions.append(Claim.task_id == request.task)
    if request.revision is not None:
        conditions.append(at_revision(request.model, request.revision))
    return session.scalars(
        select(Claim).where(*conditions).order_by(Claim.created_at, Claim.claim_id).limit(MAX_CLAIMS)
    ).all()


def _is_there(request: VerificationRequest, model: Model) -> bool:
    """Whether the farm has seen the revision that a request names."""
    revision = request.revision
    if revision is None or revision == "main":
        return True
    seen = [*model.heads.keys(), *model.heads.values(), model.revision or ""]
    return any(head == revision if revision.startswith("refs/") else head.startswith(revision) for head in seen)


@dataclass(frozen=True)
class _Asking:
    why: str
    actor: str
    may_retry: set[str]
    rules: ReverifyRules


def _verify(database: Database, claims: Sequence[Claim], asking: _Asking) -> Requested:
    done = Requested()
    for claim in claims:
        try:
            done.lines += _verify_one(database, claim, asking)
        except InterventionError as error:
            # It came into another state meanwhile, or its verdict is of a kind that stands.
            done.lines.append(str(error))
    slots = [claim.slot for claim in claims]
    with database.reading() as session:
        # A claim that was verified again is withdrawn, and a new one has its place.
        living = select(Claim.claim_id).where(Claim.slot.in_(slots), Claim.live).order_by(Claim.claim_id)
        done.claim_ids += session.scalars(living).all()
    return done


def _verify_one(database: Database, claim: Claim, asking: _Asking) -> list[str]:
    if claim.state == ClaimState.DECIDED:
        return list(reverify(database, claim.claim_id, asking.why, asking.actor, rules=asking.rules).lines)
    if claim.state == ClaimState.BLOCKED and claim.claim_id in asking.may_retry:
        return retry(database, claim.claim_id, asking.why, asking.actor)
    return [f"claim {claim.claim_id} is {claim.state}: {claim.reason}"]


def _wanted(request: VerificationRequest) -> str:
    task = f"/{request.task}" if request.task is not None else ""
    return f"{request.dataset}{task}" + (f" at {request.revision}" if request.revision is not None else "")


def _say(database: Database, request: VerificationRequest, actor: str, what: str) -> None:
    with database.transaction() as session:
        add_event(session, SCHEDULER, "model", request.model, "looked_at", f"asked by {actor}: {what}")
