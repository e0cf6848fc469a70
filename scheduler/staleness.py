"""Verdicts that no longer describe what the Hub holds: found now and then, kept with the claim, cheap to read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, String, and_, or_, select, type_coerce
from sqlalchemy.orm import Session, aliased

from scheduler.database.session import Database
from scheduler.database.tables import Badge, Benchmark, Claim, Model, Reproduction, SpecFile, VerdictRow, now
from scheduler.machine import ClaimState, ReproductionState
from scheduler.record import SCHEDULER, add_event
from specs.reverify import ReverifyRules
from specs.staleness import Head, Ran, stale_reason, what_changed
from specs.version_order import is_older

CHANGES_AT_ONCE = 500
"""Claims that become stale, or current again, in one round; the next one has the rest."""

_Then, _Now = aliased(SpecFile), aliased(SpecFile)


@dataclass(frozen=True)
class _Found:
    claim_id: str
    stale: str | None
    """What stands with the claim so far."""

    ran: Ran
    head: Head


def mark_stale(database: Database, rules: ReverifyRules) -> int:
    """Enter which verdicts became stale or current again, and why; returns how many did."""
    at = now()
    with database.reading() as session:
        found = _facts(session, rules, _maybe_stale(session, rules, at))
    changed = [
        (each.claim_id, reason)
        for each in found
        if (reason := stale_reason(each.ran, each.head, rules, at)) != each.stale
    ][:CHANGES_AT_ONCE]
    for claim_id, reason in changed:
        with database.transaction() as session:
            claim = session.get_one(Claim, claim_id, with_for_update=True)
            if claim.state == ClaimState.DECIDED:
                _enter(session, claim, reason)
    return len(changed)


def _enter(session: Session, claim: Claim, reason: str | None) -> None:
    claim.stale_reason = reason
    claim.stale_since = None if reason is None else claim.stale_since or now()
    what, why = ("stale", reason) if reason is not None else ("current", "it describes what the Hub holds again")
    add_event(session, SCHEDULER, "claim", claim.claim_id, what, why)


def changed_since(session: Session, claim: Claim) -> str | None:
    """What changed on the Hub since a claim was run, if anything did; None too where nothing was run."""
    found = _facts(session, ReverifyRules(), Claim.claim_id == claim.claim_id)
    return what_changed(found[0].ran, found[0].head) if found else None


def _facts(session: Session, rules: ReverifyRules, condition: ColumnElement[bool]) -> list[_Found]:
    names = sorted(rules.minimum_versions)
    query: Any = (
        select(
            Claim.claim_id,
            Claim.stale_reason,
            Claim.dataset_revision,
            Reproduction.weights_sha256,
            Reproduction.dataset_revision,
            _Then.content_sha256,
            Badge.signed_at,
            Model.weights_sha256,
            Benchmark.revision,
            _Now.content_sha256,
            *(_version(name) for name in names),
        )
        .join(VerdictRow, VerdictRow.claim_id == Claim.claim_id)
        .join(Reproduction, Reproduction.reproduction_id == VerdictRow.reproduction_id)
        .join(Model, Model.model_id == Claim.model_id)
        .outerjoin(Badge, Badge.claim_id == Claim.claim_id)
        .outerjoin(Benchmark, Benchmark.dataset_id == Reproduction.dataset_id)
        .outerjoin(_Then, _spec_of(_Then, Reproduction.dataset_revision))
        .outerjoin(_Now, _spec_of(_Now, Benchmark.revision))
        .where(Claim.state == ClaimState.DECIDED, Reproduction.state == ReproductionState.COMPLETED, condition)
        .order_by(Claim.claim_id)
    )
    found = []
    for row in session.execute(query):
        claim_id, stale, pinned, weights, revision, content, signed_at, *head = row[:10]
        ran = Ran(weights, revision, content, dict(zip(names, row[10:], strict=True)), signed_at)
        # What a claim pins stays what it is, wherever the benchmark has moved.
        there = Head(head[0], None, None) if pinned is not None else Head(*head)
        found.append(_Found(claim_id, stale, ran, there))
    return found


def _spec_of(spec: type[SpecFile], revision: Any) -> ColumnElement[bool]:
    return and_(spec.dataset_id == Reproduction.dataset_id, spec.revision == revision)


def _version(name: str) -> ColumnElement[str | None]:
    return type_coerce(Reproduction.measurement["circumstances"]["versions"][name].as_string(), String)


def _maybe_stale(session: Session, rules: ReverifyRules, at: datetime) -> ColumnElement[bool]:
    """Those that are worth a look: the database finds the few among many."""
    kinds = [
        Claim.stale_reason.is_not(None),
        Model.weights_sha256 != Reproduction.weights_sha256,
        and_(Claim.dataset_revision.is_(None), Benchmark.revision != Reproduction.dataset_revision),
    ]
    for name, minimum in rules.minimum_versions.items():
        known = session.scalars(select(_version(name)).where(Reproduction.measurement.is_not(None)).distinct()).all()
        kinds += [
            _version(name).is_(None),
            _version(name).in_([version for version in known if version is not None and is_older(version, minimum)]),
        ]
    if rules.after_days is not None:
        kinds.append(Badge.signed_at <= at - timedelta(days=rules.after_days))
    return or_(*kinds)
