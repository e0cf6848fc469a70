"""The command `/reverify` in comments on the Hub: taken once, from those who may, and answered where policy publishes.

A few threads are read in each round, those first that were read longest ago. Who may ask for a claim: the owner of the
model's namespace, its members where it is an organisation (as the Hub lists them), and for claims on a pull request
whoever opened that. The Hub tells no more about who somebody is (its comments name their author alone).

What a thread is about may have gone elsewhere since: to main with the pull request that was merged, to another file or
other notes, to the id that the model has by now. It is followed there, for those who speak for the model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from huggingface_hub import DiscussionComment, DiscussionWithDetails
from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from scheduler.admission.priorities import COMMUNITY_PRIORITY, REQUESTED_PRIORITY
from scheduler.database.tables import Claim, HeardComment, Publication, Thread, now
from scheduler.farm import Farm
from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Missing, Moved, told_apart
from scheduler.publish.text import answer_body, answer_mark, is_marked
from scheduler.record import add_event
from scheduler.requests.locking import lock_all
from scheduler.requests.reverifying import ask_for
from specs.errors import HubAway, HubBusy, InterventionError, NoAccess
from specs.hub.comment_commands import asks_for_reverification
from specs.text import clean

log = logging.getLogger(__name__)

THREADS_AT_ONCE = 50
COMMENTS_AT_ONCE = 20
"""Requests that are taken from one thread in one round."""

MAX_MEMBERS = 5000
MAX_NAME_CHARS = 90
MAX_LINE_CHARS = 1000
MAX_ANSWER_CHARS = 4000

MAY_NOT = "This asks for a re-verification, which the owner of the model, or of the pull request, may ask for."
GONE = "This asks for a re-verification of an entry that is gone: the farm knows of none that this is about."


@dataclass(frozen=True)
class _Request:
    comment_id: str
    author: str
    may_for_model: bool
    """Whether they may speak for the model, and not only for claims that they submitted."""


@dataclass(frozen=True)
class _Place:
    """A thread, as it is known to the farm."""

    model_id: str
    number: int
    present_id: str
    """Of the model, which may have been renamed or handed over since."""


def take_commands(farm: Farm, goes_on: Callable[[], bool] = lambda: True) -> None:
    """Read the threads whose turn it is, as long as it `goes_on`; one that cannot be read waits for its next turn."""
    if not farm.policy.reverify.comments:
        return
    for model_id, number in _due(farm):
        if not goes_on():
            break
        try:
            look_at_thread(farm, model_id, number)
        except HubBusy as error:
            log.warning("comments are read later: %s", error)
            break
        except (Missing, HubAway, NoAccess) as error:
            if not isinstance(error, Missing):
                log.warning("comments on %s, discussion %d not read: %s", model_id, number, error)
            # Else it would be the first again, and as many of them as are read at once keep all others from their turn.
            _seen(farm, model_id, number)


def look_at_thread(farm: Farm, model_id: str, number: int) -> None:
    """Take what is asked for in one discussion or pull request, and answer what was not answered yet.

    Raises:
        HubAway, NoAccess, Missing: it could not be read, or not be answered; the next look goes on from there.
    """
    own_name = farm.hub.own_name()
    with told_apart(f"discussion {number} of {model_id}"):
        found = farm.hub.api.get_discussion_details(model_id, number)
    requests = _new_requests(farm, model_id, found, own_name)
    present_id = _present_id(farm.hub, model_id) if requests else model_id
    members = _speakers(farm.hub, present_id) if requests else frozenset()
    found_in = _Place(model_id, number, present_id)
    for comment in requests:
        asked = _Request(_plain_id(comment.id), clean(comment.author, MAX_NAME_CHARS), comment.author in members)
        with farm.database.transaction() as session:
            _take(session, farm, found_in, asked)
    if own_name is not None and farm.policy.publish.mode != "off":
        _answer(farm, own_name, model_id, found)
    _seen(farm, model_id, number)


def _due(farm: Farm) -> list[tuple[str, int]]:
    """The threads that were read longest ago; of these, pull requests that make no claim any more are forgotten."""
    with farm.database.transaction() as session:
        found = []
        for row in session.scalars(select(Thread).order_by(Thread.looked_at).limit(THREADS_AT_ONCE)).all():
            if _is_about_claims(session, row):
                found.append((row.model_id, row.number))
            else:
                session.delete(row)
    return found


def _is_about_claims(session: Session, thread: Thread) -> bool:
    """Whether the farm wrote in it, or it is a pull request with living claims."""
    of_model = select(Claim.claim_id).where(Claim.model_id == thread.model_id)
    written = of_model.join(Publication, Publication.claim_id == Claim.claim_id).where(
        Publication.number == thread.number
    )
    proposed = of_model.where(Claim.pull_request == thread.number, Claim.live)
    return any(session.scalar(query.limit(1)) is not None for query in (proposed, written))


def _seen(farm: Farm, model_id: str, number: int) -> None:
    with farm.database.transaction() as session:
        session.merge(Thread(model_id=model_id, number=number, looked_at=now()))


def _new_requests(
    farm: Farm, model_id: str, found: DiscussionWithDetails, own_name: str | None
) -> list[DiscussionComment]:
    """Comments that ask and were not heard yet, oldest first."""
    asking = [
        event
        for event in found.events
        if isinstance(event, DiscussionComment)
        and not event.hidden
        and event.author != own_name
        and asks_for_reverification(event.content)
    ]
    if not asking:
        return []
    with farm.database.reading() as session:
        heard = set(
            session.scalars(
                select(HeardComment.comment_id).where(
                    HeardComment.model_id == model_id, HeardComment.number == found.num
                )
            )
        )
        # A database that was begun anew knows of no comment; what was said before its claims were found is not meant.
        begun = session.scalar(select(func.min(Claim.created_at)).where(Claim.model_id == model_id))
    new = [
        each for each in asking if _plain_id(each.id) not in heard and begun is not None and each.created_at >= begun
    ]
    return new[:COMMENTS_AT_ONCE]


def _plain_id(comment_id: str) -> str:
    """The Hub's ids are hexadecimal; nothing else gets into the mark of an answer."""
    return re.sub(r"[^0-9A-Za-z_-]", "", comment_id)[:64]


def _present_id(hub: Hub, model_id: str) -> str:
    """The id that a model has by now: the Hub leads to its threads from the earlier one too."""
    try:
        hub.model(model_id)
    except Moved as moved:
        return moved.now_at
    return model_id


def _speakers(hub: Hub, model_id: str) -> frozenset[str]:
    """Who may speak for a model: its namespace, and the members where that is an organisation."""
    namespace, slash, _ = model_id.partition("/")
    if not slash:
        return frozenset()
    try:
        with told_apart(f"members of {namespace}"):
            members = [member.username for member in islice(hub.api.list_organization_members(namespace), MAX_MEMBERS)]
    except (Missing, NoAccess):
        # A user's namespace, or an organisation that hides its members: the Hub does not tell, so the owner alone.
        members = []
    return frozenset([namespace, *members])


def _take(session: Session, farm: Farm, place: _Place, asked: _Request) -> None:
    """Do what one comment asks for, and enter that it was heard, in one transaction."""
    if session.get(HeardComment, asked.comment_id) is not None:
        return
    model_id, number = place.model_id, place.number
    actor = f"hub:{asked.author}"
    # Anybody may open a pull request and ask there: that must not bring its claims before what authors submitted.
    priority = REQUESTED_PRIORITY if asked.may_for_model else COMMUNITY_PRIORITY
    claim_ids = _claims_of(session, place)
    lines = [] if claim_ids else [GONE]
    for claim in lock_all(session, claim_ids):
        claim_id = claim.claim_id
        if not asked.may_for_model and not (claim.pull_request == number and claim.submitter == asked.author):
            add_event(session, actor, "claim", claim_id, "refused", "a comment asked for a re-verification: may not")
            lines.append(MAY_NOT)
            continue
        try:
            why = f"asked for in discussion {number}"
            done = ask_for(session, claim, why, actor, priority, rules=farm.policy.reverify)
            lines += done.lines
        except InterventionError as error:
            add_event(session, actor, "claim", claim_id, "refused", str(error))
            lines.append(str(error))
    answer = "\n".join(clean(line, MAX_LINE_CHARS) for line in dict.fromkeys(lines))[:MAX_ANSWER_CHARS] or None
    session.add(
        HeardComment(
            comment_id=asked.comment_id,
            model_id=model_id,
            number=number,
            author=asked.author,
            # The same again would fill the thread of whoever is annoyed already.
            answer=None if _was_said(session, model_id, number, asked.author, answer) else answer,
        )
    )


def _claims_of(session: Session, place: _Place) -> list[str]:
    """The living claims that a thread is about: those on the pull request, and what the farm wrote about.

    Where there are none any more, those on main in their place: on the same task, and in the same file or of the same
    value.
    """
    written = aliased(Claim)
    about = exists().where(
        written.model_id == place.model_id, Publication.claim_id == written.claim_id, Publication.number == place.number
    )
    took_their_place = about.where(
        Claim.dataset_id == written.dataset_id,
        Claim.task_id.is_not_distinct_from(written.task_id),
        or_(Claim.path == written.path, Claim.value == written.value),
    )
    living = (
        select(Claim.claim_id)
        .where(Claim.model_id.in_({place.model_id, place.present_id}), Claim.live)
        .order_by(Claim.created_at, Claim.claim_id)
    )
    for these in (
        or_(Claim.pull_request == place.number, about.where(Claim.slot == written.slot)),
        and_(Claim.pull_request.is_(None), took_their_place),
    ):
        if found := session.scalars(living.where(these)).all():
            return list(found)
    return []


def _was_said(session: Session, model_id: str, number: int, author: str, answer: str | None) -> bool:
    earlier = select(HeardComment.comment_id).where(
        HeardComment.model_id == model_id,
        HeardComment.number == number,
        HeardComment.author == author,
        HeardComment.answer == answer,
    )
    return session.scalar(earlier.limit(1)) is not None


def _answer(farm: Farm, own_name: str, model_id: str, found: DiscussionWithDetails) -> None:
    """Say what is to be said; what stands there already, from a try that was interrupted, is not said again."""
    with farm.database.reading() as session:
        waiting = session.scalars(
            select(HeardComment)
            .where(
                HeardComment.model_id == model_id,
                HeardComment.number == found.num,
                HeardComment.answer.is_not(None),
                HeardComment.answered_at.is_(None),
            )
            .order_by(HeardComment.heard_at)
        ).all()
    own = [event.content for event in found.events if isinstance(event, DiscussionComment) and event.author == own_name]
    for heard in waiting:
        if heard.answer is not None and not any(is_marked(text, answer_mark(heard.comment_id)) for text in own):
            with told_apart(f"answering in discussion {found.num} of {model_id}"):
                farm.hub.api.comment_discussion(model_id, found.num, answer_body(heard.answer, heard.comment_id))
        with farm.database.transaction() as session:
            session.get_one(HeardComment, heard.comment_id).answered_at = now()
