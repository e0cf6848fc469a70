"""What becomes of the farm's earlier threads once a later verdict is written: they are closed, or set right."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy.orm import Session

from scheduler.badges.publications import overtaken_by, replaced_by, told_in
from scheduler.database.tables import Badge, Claim
from scheduler.farm import Farm
from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Missing, TokenRefused, told_apart
from scheduler.public_urls import claim_url
from scheduler.publish.draft import Published
from scheduler.publish.own_threads import STILL_OPEN, own_comments
from scheduler.publish.text import body_mark, link
from specs.errors import NoAccess
from specs.judging.verdict import Outcome

log = logging.getLogger(__name__)

OVERTAKEN = (
    "The badge in this thread is revoked: a later run did not reproduce the score. Please neither merge nor cite it."
)
REPLACED = "Superseded by #{}, which has the proof of a later run. Please do not merge this one."


def see_to_earlier(farm: Farm, author: str, claim_id: str, done: Published) -> None:
    """See to what was written before a verdict of which `done` is written, or nothing where that was withdrawn.

    Before the end of the publication is entered: who is killed in between is here again.

    Raises:
        HubAway, NoAccess: try again later.
    """
    # Also where a mismatch is withdrawn by now: the badges that it revoked stay so.
    model_id, numbers = _overtaken(farm, claim_id)
    for number in numbers:
        # Not where it was just told: that is news.
        if number != done.number:
            with _once_written(done):
                _close_own(farm.hub, author, model_id, number, OVERTAKEN)
    _close_replaced(farm, author, claim_id, done)
    _correct(farm, author, claim_id, done)


def thread_of(session: Session, claim: Claim) -> int | None:
    """The farm's own discussion on a claim's score; on a pull request all is said there anyway."""
    return next(iter(_threads_of(session, claim)), None)


def _threads_of(session: Session, claim: Claim) -> tuple[int, ...]:
    return told_in(session, claim) if claim.pull_request is None else ()


@contextmanager
def _once_written(done: Published) -> Iterator[None]:
    """Within it an earlier thread is seen to, once the later one is written.

    The repo's owner may have locked the earlier one, for good. What was written is entered all the same: else nobody
    would read `/reverify` in it, close it when its badge is revoked, or tell of a later verdict.
    """
    try:
        yield
    except TokenRefused:
        raise
    except NoAccess as error:
        if done.number is None:
            raise
        log.warning("#%d is written, and what was written before it stays as it is: %s", done.number, error)


def _overtaken(farm: Farm, claim_id: str) -> tuple[str, tuple[int, ...]]:
    """The model of a claim that is a mismatch, and the numbers of what was published there with badges of its score.

    None for a verified one: its score was reproduced, and a badge that is revoked by now is so for another reason.
    """
    with farm.database.reading() as session:
        claim = session.get_one(Claim, claim_id)
        is_mismatch = claim.verdict is not None and claim.verdict.outcome == Outcome.MISMATCH
        return claim.model_id, overtaken_by(session, claim) if is_mismatch else ()


def _close_replaced(farm: Farm, author: str, claim_id: str, done: Published) -> None:
    """Close the pull requests of earlier proofs of the same entry: merged, they would keep the later one out."""
    if done.number is None:
        return
    with farm.database.reading() as session:
        claim = session.get_one(Claim, claim_id)
        if claim.pull_request is not None or session.get(Badge, claim_id) is None:
            return
        model_id, (latest, earlier) = claim.model_id, replaced_by(session, claim, done.number)
    for number in earlier:
        with _once_written(done):
            _close_own(farm.hub, author, model_id, number, REPLACED.format(latest), proposals_alone=True)


def _correct(farm: Farm, author: str, claim_id: str, done: Published) -> None:
    """Where the farm said that a score was not reproduced: say there that it was by now, and close that discussion."""
    if done.kind == "withdrawn":
        return
    with farm.database.reading() as session:
        claim = session.get_one(Claim, claim_id)
        model_id, threads = claim.model_id, _threads_of(session, claim)
        if claim.verdict is None or claim.verdict.outcome != Outcome.VERIFIED:
            return
    proof = f" The proof: #{done.number}." if done.number is not None else ""
    text = f"A later run reproduced this score: {link(claim_url(farm.settings.public_url, claim_id))}.{proof}"
    for thread in threads:
        with _once_written(done):
            _close_corrected(farm.hub, author, model_id, thread, claim_id, text)


def _close_own(hub: Hub, author: str, model_id: str, number: int, why: str, *, proposals_alone: bool = False) -> None:
    """Close a thread that the farm opened with a proof which does not count any more, if it is still open.

    With `proposals_alone` a discussion stays open: its proof is superseded and true, and nobody can merge it.
    """
    with suppress(Missing), told_apart(f"discussion {number} of {model_id}"):
        found = hub.api.get_discussion_details(model_id, number)
        is_meant = found.is_pull_request or not proposals_alone
        if is_meant and found.author == author and found.status in STILL_OPEN:
            hub.api.change_discussion_status(model_id, number, "closed", comment=why)


def _close_corrected(hub: Hub, author: str, model_id: str, number: int, verdict_id: str, text: str) -> None:
    """Say once, in a discussion of the farm's own, that a later verdict says otherwise, and close it if it is open."""
    with suppress(Missing), told_apart(f"discussion {number} of {model_id}"):
        found = hub.api.get_discussion_details(model_id, number)
        if found.author != author:
            # In a repo that was made anew it is another's.
            return
        if not own_comments(found, author, verdict_id):
            hub.api.comment_discussion(model_id, number, f"{text}\n\n{body_mark(verdict_id)}")
        if not found.is_pull_request and found.status in STILL_OPEN:
            hub.api.change_discussion_status(model_id, number, "closed")
