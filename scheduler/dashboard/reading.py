"""What pages read: the answers of the API, by the functions that give them."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, datetime, time, timedelta

from fastapi import Request
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scheduler.api import claims
from scheduler.api.problems import NotFound
from scheduler.api.source import Source
from scheduler.database.tables import Benchmark, Claim, Model, Reproduction, SpecFile, VerdictRow, now
from scheduler.machine import ACTIVE, ReproductionState
from specs.api_v1 import ClaimView
from specs.api_v1_overview import BlockedClaim, DayOfVerdicts, NeedsAPerson, Overview, PoolLoad
from specs.api_v1_scores import BenchmarkDetail, ModelDetail, ScorePoint, SpecView, TaskScores
from specs.verdict import Outcome, Verdict

CLAIMS_SHOWN = 100


def overview(request: Request, source: Source, session: Session) -> Overview:
    """The farm at a glance."""
    at = now()
    days = [at.date() - timedelta(days=back) for back in reversed(range(30))]
    first = datetime.combine(days[0], time(), UTC)
    rows = session.execute(select(VerdictRow.decided_at, VerdictRow.outcome).where(VerdictRow.decided_at >= first))
    by_day = Counter((decided.date(), outcome) for decided, outcome in rows)
    on = [{outcome: by_day[day, outcome] for outcome in Outcome} for day in days]
    states = session.execute(select(Claim.state, func.count()).group_by(Claim.state))
    blocked = session.scalars(select(Claim).where(Claim.state == "blocked").order_by(Claim.since.desc()).limit(20))
    return Overview.model_validate(
        {
            "at": at,
            "counted_at": at,
            "pools": _pools(session, at),
            "claims": {row[0]: row[1] for row in states},
            "verdicts": on[-1],
            "verdicts_today": on[-1],
            "verdicts_7_days": on[-1],
            "days": [DayOfVerdicts(day=day, verdicts=found) for day, found in zip(days, on, strict=True)],
            "verified_today": (),
            "needs_a_person": NeedsAPerson(
                blocked=tuple(
                    BlockedClaim(
                        claim_id=row.claim_id,
                        model=row.model_id,
                        dataset=row.dataset_id,
                        task=row.task_id,
                        reason=row.reason,
                        since=row.since,
                        awaits_approval=row.awaits_approval,
                    )
                    for row in blocked
                ),
                blocked_by_reason=(),
                quarantined=(),
                unpublished=(),
            ),
        }
    )


def _pools(session: Session, at: datetime) -> list[PoolLoad]:
    rows = session.execute(
        select(Reproduction.pool, Reproduction.state, func.count(), func.min(Reproduction.created_at))
        .where(Reproduction.state.in_(ACTIVE))
        .group_by(Reproduction.pool, Reproduction.state)
    )
    found: dict[str, dict[str, tuple[int, datetime]]] = {}
    for pool, state, number, oldest in rows:
        found.setdefault(pool, {})[state] = (number, oldest)
    return [
        PoolLoad.model_validate(
            {
                "pool": pool,
                "queued": states.get("queued", (0,))[0],
                "dispatched": states.get("dispatched", (0,))[0],
                "running": states.get("running", (0,))[0],
                "oldest_wait_seconds": (at - states["queued"][1]).total_seconds() if "queued" in states else None,
            }
        )
        for pool, states in sorted(found.items())
    ]


def claims_of_runs(session: Session) -> dict[str, str]:
    """A claim of each run that goes on, by the run's id."""
    running = (
        select(Claim.reproduction_id, func.min(Claim.claim_id))
        .join(Reproduction, Reproduction.reproduction_id == Claim.reproduction_id)
        .where(Reproduction.state == ReproductionState.RUNNING)
        .group_by(Claim.reproduction_id)
    )
    return {run: claim for run, claim in session.execute(running)}


def claims_of_model(source: Source, session: Session, model_id: str) -> tuple[ClaimView, ...]:
    """The newest claims of a model."""
    return claims.list_claims(source, session, model=model_id, limit=CLAIMS_SHOWN).items


def benchmark(request: Request, source: Source, session: Session, namespace: str, name: str) -> BenchmarkDetail:
    """One benchmark."""
    row = session.get(Benchmark, f"{namespace}/{name}")
    if row is None:
        raise NotFound(f"{namespace}/{name} is no benchmark that is watched")
    tasks = _tasks(session, Claim.dataset_id == row.dataset_id)
    verdicts = {o: sum(t.verdicts.get(o, 0) for t in tasks) for o in Outcome}
    stored = session.get(SpecFile, (row.dataset_id, row.revision))
    spec = None
    if stored is not None and stored.text is not None:
        spec = SpecView(
            revision=stored.revision, sha256=hashlib.sha256(stored.text).hexdigest(), text=stored.text.decode()
        )
    return BenchmarkDetail(
        id=row.dataset_id,
        revision=row.revision,
        gated=row.gated,
        seen_at=row.seen_at,
        spec=spec,
        samples=row.sizes,
        claims=sum(t.claims for t in tasks),
        verdicts=verdicts,
        match_rate=_rate(verdicts),
        tasks=tasks,
        points_next=None,
        counted_at=now(),
    )


def model(request: Request, source: Source, session: Session, namespace: str, name: str) -> ModelDetail:
    """One model."""
    row = session.get(Model, f"{namespace}/{name}")
    if row is None:
        raise NotFound(f"no model {namespace}/{name} was seen on the Hub")
    tasks = _tasks(session, Claim.model_id == row.model_id)
    verdicts = {o: sum(t.verdicts.get(o, 0) for t in tasks) for o in Outcome}
    return ModelDetail(
        id=row.model_id,
        revision=row.revision,
        gated=row.gated,
        weights_sha256=row.weights_sha256,
        weights_bytes=row.weights_bytes,
        looked_at=row.looked_at,
        claims={},
        verdicts=verdicts,
        match_rate=_rate(verdicts),
        tasks=tasks,
        points_next=None,
        counted_at=now(),
    )


def _rate(verdicts: dict[Outcome, int]) -> float | None:
    good, bad = verdicts[Outcome.VERIFIED], verdicts[Outcome.MISMATCH]
    return good / (good + bad) if good + bad else None


def _tasks(session: Session, condition: object) -> tuple[TaskScores, ...]:
    rows = session.execute(
        select(Claim, VerdictRow).outerjoin(VerdictRow, VerdictRow.claim_id == Claim.claim_id).where(condition)  # type: ignore[arg-type]
    ).all()
    by_task: dict[tuple[str | None, str | None], list[tuple[Claim, VerdictRow | None]]] = {}
    for claim, verdict in rows:
        by_task.setdefault((claim.dataset_id, claim.task_id), []).append((claim, verdict))
    found = []
    for (dataset, task), members in by_task.items():
        counted = Counter(v.outcome for _, v in members if v)
        verdicts = {o: counted[o] for o in Outcome}
        found.append(
            TaskScores(
                dataset=dataset,
                task=task,
                claims=len(members),
                verdicts=verdicts,
                match_rate=_rate(verdicts),
                points=tuple(p for c, v in members if v and (p := _point(c, v))),
            )
        )
    return tuple(found)


def _point(claim: Claim, row: VerdictRow) -> ScorePoint | None:
    compared = Verdict.model_validate(row.verdict, strict=False).comparison
    if compared is None:
        return None
    return ScorePoint(
        claim_id=claim.claim_id,
        model=claim.model_id,
        dataset=claim.dataset_id,
        task=claim.task_id,
        submitter=claim.submitter,
        pull_request=claim.pull_request,
        outcome=Outcome(row.outcome),
        claimed=compared.claimed,
        reproduced=compared.reproduced,
        standard_error=compared.standard_error,
        interval=compared.interval,
        tolerance=compared.tolerance,
        samples_used=compared.samples_used,
        population=compared.population,
        decided_at=row.decided_at,
    )
