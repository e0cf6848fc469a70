"""Which verdicts are written on the Hub: what policy wants, and what must be told whatever it wants."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from scheduler.badges.revoking import is_outdone_by, is_score_of, pins_the_same
from scheduler.database.session import Database
from scheduler.database.tables import Badge, Claim, Publication, Reproduction, SpecFile, VerdictRow, now
from scheduler.state_machine import ClaimState
from scheduler.stored_values import scale_of
from specs.hub.eval_results import pins
from specs.judging.verdict import Outcome
from specs.policy.publish import PublishRules

LOOK_BACK = timedelta(days=1)
"""Mismatches that are older are not written: policy that is changed today says nothing about last year's verdicts."""

WANTED_AT_ONCE = 200

SET_RIGHT = ("published", "kept_out")
"""States of the publication of a verified score, before which the farm said that it was reproduced by now."""


def is_wanted(session: Session, rules: PublishRules, claim: Claim) -> bool:
    """Whether the badge of a verified claim is written: unless its like stands on the Hub already."""
    if rules.mode == "off":
        return False
    if told_in(session, claim):
        # What the farm said of this score is not so any more.
        return True
    if "verified" not in rules.verdicts:
        return False
    run = claim.reproduction
    return run is None or not _stands(session, claim, run)


def _stands(session: Session, claim: Claim, run: Reproduction) -> bool:
    """Whether the latest proof of the same entry, before which the farm closed all others, counts and says the same."""
    latest = session.execute(
        select(
            Claim.dataset_revision,
            and_(Claim.value == claim.value, scale_of(Claim).is_not_distinct_from(scale_of(claim))),
            Badge.revoked_at,
            Reproduction.weights_sha256,
            Reproduction.dataset_revision,
        )
        .join(Publication, Publication.claim_id == Claim.claim_id)
        .join(Badge, Badge.claim_id == Claim.claim_id)
        .join(Reproduction, Reproduction.reproduction_id == Claim.reproduction_id)
        .where(
            # By its slot: beside another entry, or on another pull request, no proof would stand.
            Claim.slot == claim.slot,
            Claim.claim_id != claim.claim_id,
            Publication.state == "published",
        )
        .order_by(Claim.created_at.desc())
        .limit(1)
    ).first()
    if latest is None:
        return False
    named, is_same_score, revoked_at, weights_sha256, revision = latest
    if revoked_at is not None or not is_same_score or weights_sha256 != run.weights_sha256:
        return False
    # The very same thing was measured: a second proof tells its reader nothing.
    return revision == run.dataset_revision or (
        # Not where an entry pins its commit: a proof about another one says something else.
        not pins(claim.dataset_revision)
        and not pins(named)
        and _same_content(session, run.dataset_id, revision, run.dataset_revision)
    )


def _same_content(session: Session, dataset_id: str, *revisions: str) -> bool:
    """Whether two commits of a benchmark differ by documentation alone."""
    digests = session.scalars(
        select(SpecFile.content_sha256).where(SpecFile.dataset_id == dataset_id, SpecFile.revision.in_(revisions))
    ).all()
    return len(digests) == len(revisions) and None not in digests and len(set(digests)) == 1


def is_due(rules: PublishRules) -> ColumnElement[bool]:
    """Of publications: whether it is to be written now.

    Where policy publishes nothing (any more), what is due waits for another policy. But a try that was interrupted may
    have left a badge on the Hub that is revoked by now: that is taken back under every policy.
    """
    # By its state too, which the index begins with; nothing else is ever due.
    found = and_(Publication.state == "pending", Publication.due_at <= now())
    if rules.mode != "off":
        return found
    return and_(found, exists().where(Badge.claim_id == Publication.claim_id, Badge.revoked_at.is_not(None)))


def want_mismatches(database: Database, rules: PublishRules) -> int:
    """Enter which mismatches are to be written; once for each, whoever looks and how often. Returns how many."""
    if rules.mode == "off":
        return 0
    # One that is withdrawn by now is not written; what was published with the badges that it revoked is closed.
    wanted = _revokes_what_was_published()
    if "mismatch" in rules.verdicts:
        wanted = or_(Claim.state == ClaimState.DECIDED, wanted)
    with database.reading() as session:
        missing = session.scalars(
            select(Claim.claim_id)
            .join(VerdictRow, VerdictRow.claim_id == Claim.claim_id)
            .outerjoin(Publication, Publication.claim_id == Claim.claim_id)
            .where(
                VerdictRow.outcome == Outcome.MISMATCH,
                VerdictRow.decided_at > now() - LOOK_BACK,
                Publication.claim_id.is_(None),
                wanted,
            )
            .order_by(VerdictRow.decided_at)
            .limit(WANTED_AT_ONCE)
        ).all()
    for claim_id in missing:
        try:
            with database.transaction() as session:
                session.add(Publication(claim_id=claim_id))
        except IntegrityError:
            # Another process entered it; the row is one.
            continue
    return len(missing)


def told_in(session: Session, claim: Claim) -> tuple[int, ...]:
    """Numbers of the threads where the farm said that it did not reproduce a claim's score, and told no proof since.

    The latest comes first: what becomes of the same score, whatever its entry's notes and file are by then, is said
    there too. There are more where two entries with one score were judged at once. By when each was decided: which of
    two entries was found first says nothing of that.
    """
    found = session.scalars(_TOLD_IN, {"claim_id": claim.claim_id})
    return tuple(dict.fromkeys(number for number in found if number is not None))


def _told_in() -> Select[int | None]:
    this, own = aliased(Claim), aliased(VerdictRow)
    earlier, verdict, written = aliased(Claim), aliased(VerdictRow), aliased(Publication)
    later, answer, proof = aliased(Claim), aliased(VerdictRow), aliased(Publication)
    reproduced_since = exists().where(
        _is_told_with(later, earlier),
        answer.claim_id == later.claim_id,
        answer.decided_at > verdict.decided_at,
        answer.outcome == Outcome.VERIFIED,
        proof.claim_id == later.claim_id,
        proof.state.in_(SET_RIGHT),
    )
    return (
        select(written.number)
        .join(earlier, earlier.claim_id == written.claim_id)
        .join(verdict, verdict.claim_id == written.claim_id)
        .join(this, _is_told_with(earlier, this))
        .join(own, own.claim_id == this.claim_id)
        .where(
            this.claim_id == bindparam("claim_id"),
            earlier.claim_id != this.claim_id,
            # One run decides all its claims at once.
            or_(verdict.decided_at < own.decided_at, verdict.reproduction_id == own.reproduction_id),
            verdict.outcome == Outcome.MISMATCH,
            written.state == "published",
            written.number.is_not(None),
            ~reproduced_since,
        )
        .order_by(verdict.decided_at.desc())
    )


def _is_told_with(one: type[Claim], other: type[Claim]) -> ColumnElement[bool]:
    """Whether what is found of one claim is news of the other: the same score, on main or on the same pull request.

    An entry's own story goes on where it pins another commit by now; what another entry pins is another thing.
    """
    return and_(is_score_of(one, other), one.ref == other.ref, or_(one.slot == other.slot, pins_the_same(one, other)))


_TOLD_IN = _told_in()
"""Put together once: that takes longer than its answer, and it is asked of every badge."""


def revoked_of(session: Session, claim: Claim) -> tuple[str, ...]:
    """Ids of the badges that the score of a mismatch was given before, and that were revoked; oldest first."""
    found = session.scalars(
        select(Badge.badge_id)
        .join(Claim, Claim.claim_id == Badge.claim_id)
        .where(is_outdone_by(Claim, claim), Badge.revoked_at.is_not(None))
        .order_by(Badge.signed_at)
    )
    return tuple(found)


def overtaken_by(session: Session, claim: Claim) -> tuple[int, ...]:
    """Numbers of what was published on the Hub with those badges."""
    found = session.scalars(
        select(Publication.number)
        .join(Claim, Claim.claim_id == Publication.claim_id)
        .join(Badge, Badge.claim_id == Claim.claim_id)
        .where(is_outdone_by(Claim, claim), Badge.revoked_at.is_not(None), Publication.number.is_not(None))
        .order_by(Publication.number)
    )
    return tuple(number for number in found if number is not None)


def replaced_by(session: Session, claim: Claim, number: int) -> tuple[int, tuple[int, ...]]:
    """What of the proofs of an entry on main stands, and what it replaced, by their numbers on the Hub.

    `number` is the claim's own, which need not be entered yet, nor the latest: of a try that was interrupted.
    """
    found = session.scalars(
        select(Publication.number)
        .join(Claim, Claim.claim_id == Publication.claim_id)
        .join(Badge, Badge.claim_id == Claim.claim_id)
        .where(Claim.slot == claim.slot, Publication.state == "published", Publication.number.is_not(None))
    )
    *earlier, latest = sorted({number, *(each for each in found if each is not None)})
    return latest, tuple(earlier)


def _revokes_what_was_published() -> ColumnElement[bool]:
    # Aliases: the query around this one has tables of the same names.
    earlier, badge, written = aliased(Claim), aliased(Badge), aliased(Publication)
    return exists().where(
        is_outdone_by(earlier, Claim),
        badge.claim_id == earlier.claim_id,
        badge.revoked_at.is_not(None),
        written.claim_id == earlier.claim_id,
        written.state == "published",
    )
