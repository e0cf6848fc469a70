"""Verdicts that no longer describe what the Hub holds: found now and then, kept with the claim, cheap to read.

What is looked at follows from what changed, and not from how many verdicts there are: scheduler/watch/stale_walks.py.
That a score was verified is said of it until something newer is, also after its claim was withdrawn: that ages as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session, aliased

from scheduler.database.session import Database
from scheduler.database.tables import Badge, Benchmark, Claim, Model, Reproduction, SpecFile, VerdictRow, now
from scheduler.record import SCHEDULER, add_event
from scheduler.state_machine import ClaimState, ReproductionState
from scheduler.stored_values import scale_of, version_of
from scheduler.watch import stale_walks
from specs.hub.eval_results import pins
from specs.judging.staleness import Head, Ran, stale_reason, what_changed
from specs.judging.verdict import Outcome
from specs.policy.rules import Policy
from specs.policy.verification import Scale

CHANGES_AT_ONCE = 2000
"""Claims that become stale, or current again, in one round, give or take a page; the next one has the rest."""

LOOKED_AT_ONCE = 20_000
"""Claims that one round looks at, likewise."""

SWEPT_AT_ONCE = 200
"""Claims that a round looks at although nothing is known to have changed about them."""

TOGETHER = 50
"""Claims that change in one transaction: most of its cost is the commit, and others wait for its rows for so long."""

_IS_SAID = or_(Claim.state == ClaimState.DECIDED, VerdictRow.outcome == Outcome.VERIFIED)
"""Of claims with a verdict, which are decided or, later, withdrawn."""

_Then, _Now = aliased(SpecFile), aliased(SpecFile)


@dataclass(frozen=True)
class _Found:
    claim_id: str
    is_withdrawn: bool
    stale: str | None
    """What stands with the claim so far."""

    ran: Ran
    head: Head

    def differs(self, reason: str | None) -> bool:
        """Whether something else than what stands with the claim is to be entered."""
        if self.is_withdrawn:
            # That alone, or each commit of a benchmark would be a row for every badge that there ever was.
            return (reason is None) != (self.stale is None)
        return reason != self.stale


def mark_stale(database: Database, policy: Policy) -> int:
    """Enter which verdicts became stale or current again, and why; returns how many did."""
    rules, at = policy.reverify, now()
    waiting = deque(stale_walks.under_way(database, policy, at))
    looked = changed = 0
    # A page of each in turn: one that is long keeps no other waiting.
    while waiting and looked < LOOKED_AT_ONCE and changed < CHANGES_AT_ONCE:
        walk = waiting.popleft()
        in_a_hurry = walk.subject != stale_walks.ALL or not walk.passes
        with database.reading() as session:
            page = stale_walks.next_page(session, walk, rules, at, stale_walks.PAGE if in_a_hurry else SWEPT_AT_ONCE)
            found = _facts(session, policy, Claim.claim_id.in_(page.claim_ids)) if page.claim_ids else []
        reasons = {each.claim_id: stale_reason(each.ran, each.head, rules, at) for each in found}
        changed += _enter_all(
            database, {each.claim_id: reasons[each.claim_id] for each in found if each.differs(reasons[each.claim_id])}
        )
        looked += len(page.claim_ids)
        # Only now: who is killed before looks at this page again.
        following = stale_walks.go_on(database, walk, page, rules, at)
        if following is not None and in_a_hurry:
            waiting.append(following)
    return changed


def _enter_all(database: Database, reasons: dict[str, str | None]) -> int:
    claim_ids = sorted(reasons)
    for first in range(0, len(claim_ids), TOGETHER):
        together = claim_ids[first : first + TOGETHER]
        # What somebody else holds is waited for alone, holding nothing: waiting for one another could go in a circle.
        left = sorted(set(together) - _enter_some(database, together, reasons, skip_locked=True))
        for claim_id in left:
            _enter_some(database, [claim_id], reasons, skip_locked=False)
    return len(claim_ids)


def _enter_some(
    database: Database, claim_ids: Sequence[str], reasons: dict[str, str | None], *, skip_locked: bool
) -> set[str]:
    """Enter the reasons of those that can be locked; returns their ids."""
    with database.transaction() as session:
        claims = session.scalars(
            select(Claim).where(Claim.claim_id.in_(claim_ids)).with_for_update(skip_locked=skip_locked)
        ).all()
        for claim in claims:
            _enter(session, claim, reasons[claim.claim_id])
        return {claim.claim_id for claim in claims}


def _enter(session: Session, claim: Claim, reason: str | None) -> None:
    claim.stale_reason = reason
    claim.stale_since = None if reason is None else claim.stale_since or now()
    what, why = ("stale", reason) if reason is not None else ("current", "it describes what the Hub holds again")
    add_event(session, SCHEDULER, "claim", claim.claim_id, what, why)


def changed_since(session: Session, claim: Claim) -> str | None:
    """What changed on the Hub since a claim was run, if anything did; None too where nothing was run."""
    found = _facts(session, Policy(), Claim.claim_id == claim.claim_id)
    return what_changed(found[0].ran, found[0].head) if found else None


def _facts(session: Session, policy: Policy, condition: ColumnElement[bool]) -> list[_Found]:
    names = sorted(policy.reverify.minimum_versions)
    query: Any = (
        select(
            Claim.claim_id,
            Claim.state == ClaimState.WITHDRAWN,
            Claim.stale_reason,
            Claim.dataset_revision,
            Reproduction.weights_sha256,
            Reproduction.dataset_revision,
            _Then.content_sha256,
            Badge.signed_at,
            Claim.value,
            scale_of(Claim),
            Model.weights_sha256,
            Benchmark.revision,
            _Now.content_sha256,
            Benchmark.has_percent,
            Reproduction.dataset_id,
            Reproduction.task_id,
            *map(version_of, names),
        )
        .join(VerdictRow, VerdictRow.claim_id == Claim.claim_id)
        .join(Reproduction, Reproduction.reproduction_id == VerdictRow.reproduction_id)
        .join(Model, Model.model_id == Claim.model_id)
        .outerjoin(Badge, Badge.claim_id == Claim.claim_id)
        .outerjoin(Benchmark, Benchmark.dataset_id == Reproduction.dataset_id)
        .outerjoin(_Then, _spec_of(_Then, Reproduction.dataset_revision))
        .outerjoin(_Now, _spec_of(_Now, Benchmark.revision))
        .where(_IS_SAID, Reproduction.state == ReproductionState.COMPLETED, condition)
        .order_by(Claim.claim_id)
    )
    found = []
    for row in session.execute(query):
        claim_id, is_withdrawn, stale, named, weights, revision, content, signed_at, value, scale = row[:10]
        weights_now, head, content_now, has_percent, dataset_id, task_id = row[10:16]
        by_leaderboard: Scale | None = None if has_percent is None else "percent" if has_percent else "fraction"
        scale_now = policy.rules_for(dataset_id, task_id).scale or by_leaderboard
        there = Head(weights_now, head, content_now, scale_now)
        ran = Ran(weights, revision, content, dict(zip(names, row[16:], strict=True)), signed_at, value, scale)
        # What a claim pins stays what it is, wherever the benchmark has moved.
        if pins(named):
            there = replace(there, dataset_revision=None, content_sha256=None)
        found.append(_Found(claim_id, is_withdrawn, stale, ran, there))
    return found


def _spec_of(spec: type[SpecFile], revision: Any) -> ColumnElement[bool]:
    return and_(spec.dataset_id == Reproduction.dataset_id, spec.revision == revision)
