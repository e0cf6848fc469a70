"""The farm at a glance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from fastapi import APIRouter
from sqlalchemy import ColumnElement, Date, cast, func, select
from sqlalchemy.orm import Session

from scheduler.api.dependencies import Reading, TheSource, keep_for
from scheduler.api.live import answer_memory
from scheduler.api.pool_loads import as_of, pool_loads
from scheduler.database.tables import Claim, Publication, VerdictRow, Worker, now
from scheduler.state_machine import ClaimState
from specs.api_v1.overview import (
    BlockedClaim,
    BlockedGroup,
    DayOfVerdicts,
    NeedsAPerson,
    Overview,
    Quarantined,
    Unpublished,
    VerifiedNow,
)
from specs.judging.verdict import Outcome
from specs.messages import WorkerState

router = APIRouter(prefix="/v1", tags=["overview"])

DAYS = 30
LISTED = 20
VERIFIED_LISTED = 10
GROUPED = 1000
"""Blocked claims that are sorted by their reason, the newest ones: there may be a hundred thousand."""


@dataclass(frozen=True)
class Counts:
    """What is counted over whole tables. Each is read from an index alone, but for what is small."""

    claims: dict[str, int]
    verdicts: dict[str, int]
    by_day: dict[tuple[date, str], int]
    quarantined: int
    unpublished: int


@router.get("/overview")
def show_overview(source: TheSource, session: Reading) -> Overview:
    """Queues and pools, how claims stand and came out, what was verified today, and what needs a person."""
    at = now()
    counted = source.count(session, ("overview",), lambda: _count(session, at, sqlite=source.database.is_sqlite))
    # Not with the rest: waits begin and go on where nothing is written, and many that wait take long to go through.
    loads = source.count(session, ("overview", "pools"), lambda: pool_loads(session, at), changes_by_itself=True)
    keep_for(session, answer_memory.LOOKED_AT_AGAIN_SECONDS)
    counts = counted.value
    days = [at.date() - timedelta(days=back) for back in reversed(range(DAYS))]
    by_day = [DayOfVerdicts(day=day, verdicts=_on(counts, [day])) for day in days]
    return Overview(
        counted_at=min((each.at for each in (counted, loads) if not each.current), default=None),
        pools=as_of(loads.value, at),
        claims={state.value: counts.claims.get(state, 0) for state in ClaimState},
        verdicts={outcome: counts.verdicts.get(outcome, 0) for outcome in Outcome},
        verdicts_today=_on(counts, days[-1:]),
        verdicts_7_days=_on(counts, days[-7:]),
        days=tuple(by_day),
        verified_today=_verified_since(session, datetime.combine(at.date(), time(), UTC)),
        needs_a_person=NeedsAPerson(
            blocked=_newest_blocked(session),
            blocked_by_reason=_blocked_by_reason(session),
            quarantined=_quarantined(session),
            workers_quarantined=counts.quarantined,
            unpublished=_unpublished(session),
            verdicts_unpublished=counts.unpublished,
        ),
    )


def _count(session: Session, at: datetime, *, sqlite: bool) -> Counts:
    claims = session.execute(select(Claim.state, func.count()).group_by(Claim.state))
    verdicts = session.execute(select(VerdictRow.outcome, func.count()).group_by(VerdictRow.outcome))
    first = datetime.combine(at.date() - timedelta(days=DAYS - 1), time(), UTC)
    day = _day_of(VerdictRow.decided_at, sqlite=sqlite)
    by_day = session.execute(
        select(day, VerdictRow.outcome, func.count())
        # By outcome too, so that the index on both answers it.
        .where(VerdictRow.outcome.in_([*Outcome]), VerdictRow.decided_at >= first)
        .group_by(day, VerdictRow.outcome)
    )
    return Counts(
        claims={row[0]: row[1] for row in claims},
        verdicts={row[0]: row[1] for row in verdicts},
        by_day={(_as_date(found), outcome): number for found, outcome, number in by_day},
        quarantined=session.scalar(select(func.count()).select_from(Worker).where(QUARANTINED)) or 0,
        unpublished=session.scalar(select(func.count()).select_from(Publication).where(*UNPUBLISHED)) or 0,
    )


def _on(counts: Counts, days: Sequence[date]) -> dict[Outcome, int]:
    return {outcome: sum(counts.by_day.get((day, outcome), 0) for day in days) for outcome in Outcome}


def _day_of(column: Any, *, sqlite: bool) -> ColumnElement[Any]:  # a mapped column of whichever table
    # SQLite keeps times as text in UTC, and has no type for a day.
    return func.date(column) if sqlite else cast(func.timezone("UTC", column), Date)


def _as_date(found: object) -> date:
    return found if isinstance(found, date) else date.fromisoformat(str(found))


def _verified_since(session: Session, since: datetime) -> tuple[VerifiedNow, ...]:
    rows = session.execute(
        select(VerdictRow, Claim)
        .join(Claim, Claim.claim_id == VerdictRow.claim_id)
        .where(VerdictRow.outcome == Outcome.VERIFIED, VerdictRow.decided_at >= since)
        .order_by(VerdictRow.decided_at.desc(), VerdictRow.claim_id.desc())
        .limit(VERIFIED_LISTED)
    )
    return tuple(_verified(verdict, claim) for verdict, claim in rows)


def _verified(row: VerdictRow, claim: Claim) -> VerifiedNow:
    compared: dict[str, Any] = row.verdict.get("comparison") or {}
    return VerifiedNow(
        claim_id=claim.claim_id,
        model=claim.model_id,
        dataset=claim.dataset_id,
        task=claim.task_id,
        claimed=compared.get("claimed"),
        reproduced=compared.get("reproduced"),
        samples_used=compared.get("samples_used"),
        population=compared.get("population"),
        decided_at=row.decided_at,
    )


BLOCKED_NEWEST_FIRST = (Claim.since.desc(), Claim.claim_id.desc())


def _newest_blocked(session: Session) -> tuple[BlockedClaim, ...]:
    rows = session.execute(
        select(
            Claim.claim_id,
            Claim.model_id,
            Claim.dataset_id,
            Claim.task_id,
            Claim.reason,
            Claim.since,
            Claim.awaits_approval,
        )
        .where(Claim.state == ClaimState.BLOCKED)
        .order_by(*BLOCKED_NEWEST_FIRST)
        .limit(LISTED)
    )
    return tuple(
        BlockedClaim(
            claim_id=claim_id,
            model=model_id,
            dataset=dataset_id,
            task=task_id,
            reason=reason,
            since=since,
            awaits_approval=awaits_approval,
        )
        for claim_id, model_id, dataset_id, task_id, reason, since, awaits_approval in rows
    )


def _blocked_by_reason(session: Session) -> tuple[BlockedGroup, ...]:
    rows = session.execute(
        select(Claim.reason, Claim.claim_id)
        .where(Claim.state == ClaimState.BLOCKED)
        .order_by(*BLOCKED_NEWEST_FIRST)
        .limit(GROUPED)
    ).all()
    counts = Counter(reason for reason, _ in rows)
    newest = {row[0]: row[1] for row in reversed(rows)}
    return tuple(
        BlockedGroup(reason=reason, claims=number, newest_claim_id=newest[reason])
        for reason, number in counts.most_common(LISTED)
    )


QUARANTINED = Worker.state == WorkerState.QUARANTINED
UNPUBLISHED = (Publication.state == "pending", Publication.tries > 0)


def _quarantined(session: Session) -> tuple[Quarantined, ...]:
    """Workers in quarantine, the longest first."""
    rows = session.scalars(select(Worker).where(QUARANTINED).order_by(Worker.since).limit(LISTED))
    return tuple(Quarantined(worker=row.name, pool=row.pool, reason=row.reason, since=row.since) for row in rows)


def _unpublished(session: Session) -> tuple[Unpublished, ...]:
    rows = session.execute(
        select(Publication, Claim.model_id)
        .join(Claim, Claim.claim_id == Publication.claim_id)
        .where(*UNPUBLISHED)
        .order_by(Publication.due_at)
        .limit(LISTED)
    )
    return tuple(
        Unpublished(claim_id=row.claim_id, model=model_id, tries=row.tries, reason=row.reason, next_try_at=row.due_at)
        for row, model_id in rows
    )
