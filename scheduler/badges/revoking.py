"""Badges that no longer count: one by one, or all that a key has signed. Each call is one transaction, on the record.

What was published on the Hub stays there: that is its owners' to change. Whoever looks at the list of revocations,
or at its public keys where a key is revoked, sees that it does not count.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, literal, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from scheduler.database.id_prefixes import begins
from scheduler.database.session import Database
from scheduler.database.tables import Badge, Claim, Publication, Reproduction, RevokedKey, SpecFile, VerdictRow, now
from scheduler.record import SCHEDULER, add_event
from scheduler.stored_values import scale_of
from specs.api_v1.actions import MAX_WHY_CHARS
from specs.api_v1.views import MIN_ID_PREFIX
from specs.errors import InterventionError
from specs.hub.eval_results import HEAD_REFS
from specs.judging.verdict import Outcome
from specs.text import clean

MAX_LISTED = 5


class NoSuchBadge(InterventionError):  # noqa: N818 - a condition, not a mistake
    """No badge has an id like that, nor a claim that has one."""


class SeveralBadges(InterventionError):  # noqa: N818 - a condition, not a mistake
    """The start of an id is that of several badges, or of a badge and of another's claim."""


def revoke(database: Database, badge_id: str, why: str, actor: str) -> list[str]:
    """Revoke a badge, by its id, its claim's, or enough of the beginning of either; what was done, line by line.

    A badge that is revoked already stays so, for the reason that was given first.

    Raises:
        NoSuchBadge: there is none.
        SeveralBadges: several begin so.
    """
    with database.transaction() as session:
        badge = session.get_one(Badge, find(session, badge_id).claim_id, with_for_update=True)
        if badge.revoked_at is not None:
            return [f"badge {badge.badge_id} is revoked since {badge.revoked_at:%Y-%m-%d %H:%M} UTC already"]
        revoke_badge(session, badge, why, actor)
        done = [f"badge {badge.badge_id} of claim {badge.claim_id} is revoked, and listed as such at /v1/revocations"]
        publication = session.get(Publication, badge.claim_id)
        if publication is not None and publication.state == "published":
            done.append(
                f"it stands on the Hub ({publication.url or 'in the entry'}), where the farm takes nothing back:"
                " close the pull request, or ask its owner to remove the token"
            )
        elif publication is not None and publication.state == "pending":
            done.append("it is not published any more; what is being written to the Hub just now is taken back")
        return done


def revoke_badge(session: Session, badge: Badge, why: str, actor: str) -> None:
    """Have a badge no longer count, once and for good; part of the caller's transaction."""
    if badge.revoked_at is None:
        badge.revoked_at, badge.revoked_reason = now(), clean(why, MAX_WHY_CHARS)
        add_event(session, actor, "badge", badge.badge_id, "revoked", why)
        # What a try may have left on the Hub is taken back now, and not when the next try is due.
        session.execute(
            update(Publication)
            .where(Publication.claim_id == badge.claim_id, Publication.state == "pending")
            .values(due_at=now())
        )


def revoke_earlier(session: Session, claims: Collection[Claim], run: Reproduction) -> None:
    """Revoke what the scores of claims that a run found to be a mismatch were given before (docs/decisions/0018)."""
    if not claims:
        return
    mismatch = aliased(Claim)
    # Of another entry's badge an older run says nothing new, nor does the very run that it came from.
    newer = or_(Claim.slot == mismatch.slot, Reproduction.created_at < run.created_at)
    of_these = mismatch.claim_id.in_([claim.claim_id for claim in claims])
    _revoke(session, _outdone(mismatch, run.dataset_revision).where(of_these, newer))


def revoke_outdone(database: Database, since: datetime) -> int:
    """Revoke badges, of those signed since then, that a newer run had outdone before they were kept; how many.

    Whoever decided that mismatch looked for badges, and these were not there yet: their verdicts waited for a key, or
    for a moment.
    """
    query = _OUTDONE_BY_NEWER.where(Badge.signed_at >= since)
    with database.reading() as session:
        if session.execute(query.limit(1)).first() is None:
            return 0
    with database.transaction() as session:
        return _revoke(session, query)


def revoke_if_outdone(session: Session, claim_ids: Collection[str]) -> None:
    """The same for badges that are being kept; part of the transaction that keeps them, so none is valid meanwhile."""
    _revoke(session, _OUTDONE_BY_NEWER.where(Badge.claim_id.in_(claim_ids)))


def _outdone_by_newer() -> Select[Badge, str]:
    """Valid badges of which a newer run did not reproduce the score, each with that mismatch's claim."""
    mismatch, run = aliased(Claim), aliased(Reproduction)
    return (
        _outdone(mismatch, run.dataset_revision)
        .join(VerdictRow, VerdictRow.claim_id == mismatch.claim_id)
        .join(run, run.reproduction_id == mismatch.reproduction_id)
        .where(VerdictRow.outcome == Outcome.MISMATCH, Reproduction.created_at < run.created_at)
    )


def _outdone(mismatch: type[Claim], revision: str | InstrumentedAttribute[str | None] | None) -> Select[Badge, str]:
    """Valid badges whose score a mismatch concerns, each with that mismatch's claim; `revision` is its run's."""
    return (
        select(Badge, mismatch.claim_id)
        .join(Claim, Claim.claim_id == Badge.claim_id)
        .join(Reproduction, Reproduction.reproduction_id == Claim.reproduction_id)
        .join(mismatch, is_outdone_by(Claim, mismatch))
        .where(
            or_(
                pins_the_same(Claim, mismatch),
                Reproduction.dataset_revision == revision,
                # Or at a commit that is known to hold the same questions. What is unknown equals nothing.
                _content_at(Reproduction.dataset_revision) == _content_at(revision),
            ),
            Badge.revoked_at.is_(None),
        )
        # In one order, as everybody who locks several rows; and the reason is the same whoever asks.
        .order_by(Badge.claim_id, mismatch.claim_id)
    )


def _content_at(
    revision: str | InstrumentedAttribute[str] | InstrumentedAttribute[str | None] | None,
) -> ScalarSelect[str | None]:
    """Digest of what the claim's benchmark holds at a commit; NULL where it is not known."""
    held = select(SpecFile.content_sha256).where(SpecFile.dataset_id == Claim.dataset_id, SpecFile.revision == revision)
    return held.correlate_except(SpecFile).scalar_subquery()


def pins_nothing(claim: type[Claim]) -> ColumnElement[bool]:
    """Whether the entry names no commit of its benchmark: the contrary of `specs.hub.eval_results.pins`."""
    return or_(claim.dataset_revision.is_(None), claim.dataset_revision.in_(HEAD_REFS))


def pins_the_same(one: type[Claim], other: type[Claim]) -> ColumnElement[bool]:
    """Whether two entries name the same commit, or say, however either does, that they are about what is there now."""
    return or_(
        one.dataset_revision.is_not_distinct_from(other.dataset_revision), and_(pins_nothing(one), pins_nothing(other))
    )


def _revoke(session: Session, outdone: Select[Badge, str]) -> int:
    earlier = session.execute(outdone.with_for_update(of=Badge)).all()
    for badge, claim_id in earlier:
        revoke_badge(session, badge, f"the same score was run again and not reproduced: claim {claim_id}", SCHEDULER)
    return len({badge.claim_id for badge, _ in earlier})


def is_outdone_by(earlier: type[Claim], mismatch: Claim | type[Claim]) -> ColumnElement[bool]:
    """Whether a mismatch concerns what the badge of another claim states.

    What anybody claims on a pull request says nothing against a badge from elsewhere: whoever wants that revoked would
    claim it until a run comes out so.
    """
    return and_(
        is_score_of(earlier, mismatch),
        or_(literal("main") == mismatch.ref, earlier.ref == mismatch.ref),
        earlier.claim_id != mismatch.claim_id,
    )


def is_score_of(one: type[Claim], other: Claim | type[Claim]) -> ColumnElement[bool]:
    """Whether two claims state the same score, as a badge does: of a model on a task, and its scale.

    Not by the slot, whose notes, file and pull request no token states.
    """
    return and_(
        one.model_id == other.model_id,
        # As it stands in no index: SQLite would go through all claims on a benchmark, and of a model there are few.
        one.dataset_id.concat("") == other.dataset_id,
        or_(one.task_id.is_not_distinct_from(other.task_id), _task_run_for(one) == _task_run_for(other)),
        one.value == other.value,
        # That a benchmark's scores are percentages by now says nothing of what 0.57 was as a fraction.
        scale_of(one).is_not_distinct_from(scale_of(other)),
    )


def _task_run_for(claim: Claim | type[Claim]) -> ScalarSelect[str | None]:
    """Id of the task that answered a claim; NULL where it has none, which equals nothing."""
    run = aliased(Reproduction)
    answered = select(run.task_id).where(run.reproduction_id == claim.reproduction_id)
    return answered.correlate_except(run).scalar_subquery()


_OUTDONE_BY_NEWER = _outdone_by_newer()
"""Put together once: that takes longer than its answer, which is asked for with every fifty badges."""


def revoke_key(database: Database, key_id: str, why: str, actor: str) -> list[str]:
    """Revoke a signing key, by its whole id, with every badge that it signed; what was done, line by line.

    From its commit on the farm neither lists the key nor signs with it.
    """
    with database.transaction() as session:
        found = session.get(RevokedKey, key_id)
        if found is None:
            reason = clean(why, MAX_WHY_CHARS)
            session.add(RevokedKey(key_id=key_id, revoked_at=now(), revoked_reason=reason, actor=actor))
            add_event(session, actor, "key", key_id, "revoked", why)
        badges = _badges_of(session, [key_id])
        for badge in badges:
            revoke_badge(session, badge, f"its key is revoked: {why}", actor)
        said = "is revoked" if found is None else "is revoked already"
        return [f"key {key_id} {said}: it is no longer among the public keys", f"badges revoked with it: {len(badges)}"]


def trouble_with_key(session: Session, key_id: str) -> str | None:
    """Why nothing is signed with a key, and what to do; None where it is not revoked."""
    if session.get(RevokedKey, key_id) is None:
        return None
    # Not `keys rotate`: what is announced beside it may be no better.
    return (
        f"key {key_id} is revoked, and its files are still in place: `reprofarm keys revoke` once more, where they can"
        ' be written, has another sign (docs/operations.md, "Rotate keys")'
    )


def revoke_left_over(database: Database) -> int:
    """Revoke badges of revoked keys that were being signed when the key was revoked; how many there were."""
    with database.reading() as session:
        if not session.scalars(select(RevokedKey.key_id).limit(1)).all():
            return 0
    with database.transaction() as session:
        revoked = {row.key_id: row.revoked_reason for row in session.scalars(select(RevokedKey))}
        badges = _badges_of(session, list(revoked))
        for badge in badges:
            revoke_badge(session, badge, f"its key is revoked: {revoked[badge.key_id]}", SCHEDULER)
        return len(badges)


def revoked_keys(session: Session) -> Sequence[RevokedKey]:
    """All keys that are revoked, the latest first."""
    return session.scalars(select(RevokedKey).order_by(RevokedKey.revoked_at.desc(), RevokedKey.key_id)).all()


def _badges_of(session: Session, key_ids: list[str]) -> Sequence[Badge]:
    wanted = select(Badge).where(Badge.key_id.in_(key_ids), Badge.revoked_at.is_(None))
    return session.scalars(wanted.order_by(Badge.claim_id).with_for_update()).all()


def find(session: Session, start: str) -> Badge:
    """The one badge whose id, or its claim's, begins so.

    Raises:
        NoSuchBadge: there is none.
        SeveralBadges: several begin so.
    """
    if len(start) < MIN_ID_PREFIX:
        raise InterventionError(f"an id, or its first {MIN_ID_PREFIX} characters or more, not {start!r}")
    either = or_(begins(Badge.badge_id, start), begins(Badge.claim_id, start))
    found = session.scalars(select(Badge).where(either).limit(MAX_LISTED)).all()
    if not found:
        raise NoSuchBadge(f"no badge, and no claim with a badge, has an id like {start}")
    if len(found) > 1:
        raise SeveralBadges(f"several badges fit {start}: {', '.join(sorted(each.badge_id for each in found))}")
    return found[0]
