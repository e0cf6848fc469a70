"""Which verdicts are to be looked at for whether they are stale, and how far that has come.

Each walk goes over claims in the order of a time and their ids, a page at a time, and may be broken off after any:

model, benchmark   its claims, because its files changed, or on which scale its leaderboard is; begun in the
                   transaction that notes the change
verdicts           what was decided lately: the Hub may have moved while it ran
badges             what has come of age
all                every claim: without a pause where the rules are new, then one page a round, over and over, for what
                   no other walk could know of (a restored database, clocks that were set)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import rfc8785
from sqlalchemy import ColumnElement, delete, literal, select, tuple_
from sqlalchemy.orm import Session

from scheduler.database.session import Database
from scheduler.database.tables import Badge, Claim, StaleWalk, VerdictRow
from specs.policy.reverify import ReverifyRules
from specs.policy.rules import Policy

Changed = Literal["model", "benchmark"]
ALL, VERDICTS, BADGES = "all", "verdicts", "badges"
LASTING = (VERDICTS, BADGES, ALL)
"""Those that begin anew when they have come to their end."""

PAGE = 500
"""Claims that are looked at together."""

WALKS_AT_ONCE = 500
"""Walks that one round goes on with, those that were begun first."""

LATE = timedelta(minutes=2)
"""A time is taken before its transaction is committed, by the clock of whoever writes it: so far back a walk along such
times looks again."""

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Page:
    """The next claims of a walk."""

    claim_ids: Sequence[str]
    last_at: datetime | None
    """Of the last of them; None where there are none."""

    is_last: bool


def begin(session: Session, subject: Changed, subject_id: str) -> None:
    """Have a model's or a benchmark's claims looked at, from the first, once the caller's transaction is committed."""
    session.execute(delete(StaleWalk).where(StaleWalk.subject == subject, StaleWalk.subject_id == subject_id))
    session.add(StaleWalk(subject=subject, subject_id=subject_id))


def under_way(database: Database, policy: Policy, at: datetime) -> list[StaleWalk]:
    """The walks to go on with, in their order; the lasting ones are begun anew where the rules are others than before.

    Last is that over all claims, which is begun once for each set of rules, and then has no hurry.
    """
    rules, digest = policy.reverify, _digest(policy)
    with database.transaction() as session:
        lasting = session.scalars(select(StaleWalk).where(StaleWalk.subject.in_(LASTING))).all()
        if {row.subject_id for row in lasting} != {digest}:
            for row in lasting:
                session.delete(row)
            lasting = _begin_lasting(session, rules, digest, at)
        following = session.scalars(
            select(StaleWalk).where(StaleWalk.subject.not_in(LASTING)).order_by(StaleWalk.since).limit(WALKS_AT_ONCE)
        ).all()
    of_all = [row for row in lasting if row.subject == ALL]
    return [*(row for row in lasting if row.subject != ALL), *following, *of_all]


def next_page(session: Session, walk: StaleWalk, rules: ReverifyRules, at: datetime, size: int) -> Page:
    """The claims that follow in a walk, `size` at most."""
    when, claim_id, among = _line(walk, rules, at)
    query = select(when, claim_id).where(*among).order_by(when, claim_id).limit(size)
    if walk.reached_at is not None:
        reached = tuple_(literal(walk.reached_at, when.type), literal(walk.reached_id, claim_id.type))
        query = query.where(tuple_(when, claim_id) > reached)
    rows = session.execute(query).all()
    return Page([row[1] for row in rows], rows[-1][0] if rows else None, len(rows) < size)


def go_on(database: Database, walk: StaleWalk, page: Page, rules: ReverifyRules, at: datetime) -> StaleWalk | None:
    """Enter that a page was looked at; None where the walk is over, for this round or for good."""
    with database.transaction() as session:
        row = session.get(StaleWalk, walk.walk_id, with_for_update=True)
        if row is None:
            # Begun anew meanwhile, as another row.
            return None
        if not page.is_last:
            row.reached_at, row.reached_id = page.last_at, page.claim_ids[-1]
            return row
        row.passes += 1
        row.reached_at, row.reached_id = _beginning(row.subject, rules, at), ""
        if row.subject not in LASTING:
            session.delete(row)
        return None


def _begin_lasting(session: Session, rules: ReverifyRules, digest: str, at: datetime) -> list[StaleWalk]:
    rows = [
        StaleWalk(subject=subject, subject_id=digest, reached_at=_beginning(subject, rules, at)) for subject in LASTING
    ]
    session.add_all(rows)
    session.flush()
    return rows


def _beginning(subject: str, rules: ReverifyRules, at: datetime) -> datetime | None:
    """Where a walk begins that has seen all there is at a time, or beside which that over all claims begins."""
    if subject == VERDICTS:
        return at - LATE
    if subject == BADGES:
        return min(_of_age(rules, at), at - LATE)
    return None


def _line(walk: StaleWalk, rules: ReverifyRules, at: datetime) -> tuple[Any, Any, tuple[ColumnElement[bool], ...]]:
    """Time and id by which a walk goes, and among what."""
    if walk.subject == VERDICTS:
        return VerdictRow.decided_at, VerdictRow.claim_id, ()
    if walk.subject == BADGES:
        return Badge.signed_at, Badge.claim_id, (Badge.signed_at <= _of_age(rules, at),)
    among = {"model": Claim.model_id, "benchmark": Claim.dataset_id}.get(walk.subject)
    return Claim.created_at, Claim.claim_id, (among == walk.subject_id,) if among is not None else ()


def _of_age(rules: ReverifyRules, at: datetime) -> datetime:
    """What was signed until then is too old at a time."""
    return at - timedelta(days=rules.after_days) if rules.after_days is not None else LONG_AGO


def _digest(policy: Policy) -> str:
    """Of what of the policy decides which verdicts are stale."""
    said = {
        "after_days": policy.reverify.after_days,
        "minimum_versions": policy.reverify.minimum_versions,
        "scale": policy.verification.scale,
        "scales": {
            name: [rules.scale, {task: of_task.scale for task, of_task in rules.tasks.items()}]
            for name, rules in policy.benchmarks.items()
        },
    }
    return hashlib.sha256(rfc8785.dumps(said)).hexdigest()
