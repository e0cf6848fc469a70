"""Which verdicts are to be written on the Hub, when, and what came of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import select

from scheduler.badges.attesting import facts_of
from scheduler.badges.keyring import listed_keys
from scheduler.badges.publications import is_due, revoked_of
from scheduler.collect.retrying import retry_delay_seconds
from scheduler.database.tables import Badge, Claim, Publication, now
from scheduler.farm import Farm
from scheduler.hub.hub_errors import TokenRefused
from scheduler.own_faults import OURS
from scheduler.public_urls import claim_url
from scheduler.publish.draft import ClaimPlace, Draft, Measured, Published
from scheduler.publish.earlier_threads import see_to_earlier, thread_of
from scheduler.publish.own_threads import take_back, written_earlier
from scheduler.publish.result_file import Source
from scheduler.publish.text import Mismatch, Ran, body, mismatch_body, title
from scheduler.publish.writing import publish
from scheduler.record import SCHEDULER, add_event
from scheduler.watch import threads
from specs.attestation import Attestation, verify
from specs.errors import HubAway, HubBusy, NoAccess, TokenError
from specs.judging.verdict import Outcome, Verdict
from specs.measurement import Measurement
from specs.processes.log_lines import about
from specs.processes.spans import Place
from specs.text import clean

log = logging.getLogger(__name__)

PUBLISHED_AT_ONCE = 50

MAX_REASON_CHARS = 1000

REFUSED_SECONDS = 86400.0
"""Between two tries where the Hub refuses: that is for the repo's owner to change, or for whoever holds the token."""


@dataclass(frozen=True)
class _Again:
    """It could not be written yet."""

    reason: str
    seconds: float
    ends_round: bool = False
    """Whether others would meet the same."""


def publish_due(farm: Farm, goes_on: Callable[[], bool] = lambda: True) -> None:
    """Write what is due, as long as it `goes_on`; what cannot be written is tried again later, and says why."""
    query = (
        select(Publication.claim_id, Publication.due_at).where(is_due(farm.policy.publish)).order_by(Publication.due_at)
    )
    with farm.database.reading() as session:
        due = session.execute(query.limit(PUBLISHED_AT_ONCE)).all()
    if not due:
        # Asking the Hub who we are is rationed.
        return
    try:
        author = farm.hub.own_name()
    except (HubAway, NoAccess) as error:
        log.warning("nothing published this time: %s", error)
        return
    if author is None:
        log.warning("there are verdicts to publish, or to take back, but the farm has no Hub token")
        return
    for claim_id, due_at in due:
        if not goes_on():
            # Another process may be at it by now, and each would write what the other writes.
            break
        # A try each: the time tells them apart.
        place = Place(claim_id, "publish", int(now().timestamp()))
        with about(claim_id=claim_id), farm.spans.live(place, Place.of_claim(claim_id)):
            result = _publish(farm, author, claim_id)
            _conclude(farm, claim_id, due_at, result)
        if isinstance(result, _Again) and result.ends_round:
            break


def _publish(farm: Farm, author: str, claim_id: str) -> Published | _Again:
    try:
        draft = _draft(farm, claim_id)
        done = _no_more(farm, author, claim_id) if draft is None else publish(farm.hub, author, draft)
        see_to_earlier(farm, author, claim_id, done)
        return done
    except HubAway as error:
        return _Again(str(error), error.retry_after_seconds or 0.0, isinstance(error, HubBusy))
    except TokenError as error:
        return _Again(f"the badge does not verify with the farm's own public keys: {error}", 0.0)
    except TokenRefused as error:
        # Nor is anything else written until the token is another: the next round asks whose it is before it tries one.
        farm.hub.forget_own_name()
        return _Again(str(error), 0.0, ends_round=True)
    except NoAccess as error:
        return _Again(f"{error}; the farm's user needs the right to open discussions there", REFUSED_SECONDS)
    except OURS as error:
        # What another version of the farm wrote, say, and this one cannot read. Others are published all the same.
        log.exception("a fault of ours")
        return _Again(f"{type(error).__name__}, of which the control worker's log tells more", 0.0)


def _no_more(farm: Farm, author: str, claim_id: str) -> Published:
    """A try that was interrupted may have written what may not be written any more.

    A badge that is revoked by now is taken back. Any other stands, and is entered: else nobody would close it, or say
    on the Hub that it does not count, if it is revoked later.
    """
    withdrawn = Published("withdrawn", "the claim was withdrawn, or its badge revoked, before it was published")
    with farm.database.reading() as session:
        claim, badge = session.get_one(Claim, claim_id), session.get(Badge, claim_id)
        if claim.dataset_id is None or claim.value is None:
            return withdrawn
        place = _place(claim, claim.dataset_id, claim.value)
        thread = thread_of(session, claim)
        is_revoked = badge is not None and badge.revoked_at is not None
    if is_revoked:
        take_back(farm.hub, author, place, claim_id, thread)
        return withdrawn
    return written_earlier(farm.hub, author, place, claim_id, thread) or withdrawn


def _draft(farm: Farm, claim_id: str) -> Draft | None:
    """What is to be written; None where nothing may be written any more."""
    rules = farm.policy.publish
    with farm.database.reading() as session:
        claim = session.get_one(Claim, claim_id)
        verdict, run = claim.verdict, claim.reproduction
        if not claim.live or verdict is None or run is None or rules.mode == "off":
            return None
        if claim.dataset_id is None or claim.value is None:
            return None
        thread = thread_of(session, claim)
        place = _place(claim, claim.dataset_id, claim.value)
        ran = Ran(Measurement.model_validate(run.measurement, strict=False).circumstances, run.spec_refusal)
        if verdict.outcome == Outcome.MISMATCH:
            facts = facts_of(farm.settings.public_url, claim_id, verdict.decided_at, claim, run, verdict)
            why = Mismatch(
                likely_reasons=Verdict.model_validate(verdict.verdict, strict=False).likely_reasons,
                revoked_badges=revoked_of(session, claim),
                takes_comments=farm.policy.reverify.comments,
            )
            return _of_a_mismatch(place, facts, ran, why, claim_id, thread)
        badge = verdict.badge
        if badge is None or badge.revoked_at is not None:
            return None
        facts = verify(badge.token, dict(listed_keys(farm.settings, session)))
        # Where policy wants proofs, that thread names the one that is written.
        thread = None if "verified" in rules.verdicts else thread
        return Draft(
            verdict_id=claim_id,
            claim=place,
            # Where the thread takes nothing, what it said is set right beside it, and no proof proposed for that.
            mode=rules.mode if thread is None else "comment",
            token=badge.token if "verify_token" in rules.proof else None,
            source=_source(farm, claim_id) if "source" in rules.proof else None,
            title=title(facts, claim_id),
            body=body(facts, ran, badge.token, claim_id, proposed=place.pull_request is not None),
            measured=Measured(run.model_revision, run.weights_sha256),
            thread=thread,
            gave=partial(_gave, farm),
        )


def _gave(farm: Farm, badge_id: str) -> bool:
    # Text from outside; PostgreSQL refuses some.
    if not re.fullmatch(r"[0-9a-f]{32}", badge_id):
        return False
    with farm.database.reading() as session:
        return session.scalar(select(Badge.claim_id).where(Badge.badge_id == badge_id)) is not None


def _of_a_mismatch(
    place: ClaimPlace, facts: Attestation, ran: Ran, why: Mismatch, claim_id: str, thread: int | None
) -> Draft:
    return Draft(
        verdict_id=claim_id,
        claim=place,
        # There is no proof to add to the entry.
        mode="comment",
        token=None,
        source=None,
        title=title(facts, claim_id, reproduced=False),
        body=mismatch_body(facts, ran, why, claim_id, proposed=place.pull_request is not None),
        thread=thread,
    )


def _place(claim: Claim, dataset_id: str, value: float) -> ClaimPlace:
    return ClaimPlace(
        model_id=claim.model_id,
        pull_request=claim.pull_request,
        path=claim.path,
        entry=claim.entry,
        dataset_id=dataset_id,
        task_id=claim.task_id,
        value=value,
        notes=claim.notes,
        dataset_revision=claim.dataset_revision,
    )


def _source(farm: Farm, claim_id: str) -> Source:
    return Source(url=claim_url(farm.settings.public_url, claim_id), name="reprofarm")


def _conclude(farm: Farm, claim_id: str, due_at: datetime | None, result: Published | _Again) -> None:
    with farm.database.transaction() as session:
        # Locked: whoever revokes it either finds that it is published, or is found here to have been quicker.
        badge = session.get(Badge, claim_id, with_for_update=True)
        row = session.get_one(Publication, claim_id)
        row.tries += 1
        row.reason = clean(result.reason, MAX_REASON_CHARS)
        if isinstance(result, _Again):
            # Else its badge was revoked during this try: what that may have left is taken back now, once, and put off
            # only if that cannot be done either.
            if row.due_at == due_at:
                row.due_at = now() + timedelta(seconds=max(result.seconds, retry_delay_seconds(row.tries)))
            return
        if badge is not None and badge.revoked_at is not None and result.kind != "withdrawn":
            # Stays pending: the next round takes it back, however often that takes.
            row.due_at, row.reason = now(), "its badge was revoked while it was written; it is taken back"
            return
        row.due_at, row.number, row.url = None, result.number, result.url
        row.state = "published" if result.kind == "already" else result.kind
        if result.number is not None:
            threads.enter(session, session.get_one(Claim, claim_id).model_id, result.number)
        add_event(session, SCHEDULER, "claim", claim_id, row.state, f"publication: {result.reason} {result.url or ''}")
