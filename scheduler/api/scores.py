"""Claimed scores beside reproduced ones: how the claims of a model or on a benchmark came out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from scheduler.api import pages
from scheduler.database.tables import Claim, VerdictRow
from specs.api_v1.scores import ScorePoint, TaskScores
from specs.api_v1.views import Page
from specs.judging.verdict import Outcome

MEASURED = (Outcome.VERIFIED, Outcome.MISMATCH, Outcome.INCONCLUSIVE)
"""Verdicts that rest on a run."""

POINTS_SHOWN = 200
TASKS_SHOWN = 200
"""No fewer than points, each of which is shown with its task."""

TaskKey = tuple[str | None, str | None]
"""Dataset and task."""


@dataclass(frozen=True)
class TaskCounts:
    """Claims that are not withdrawn, by task and by how they came out."""

    claims: Counter[TaskKey]
    verdicts: dict[TaskKey, dict[Outcome, int]]

    @property
    def in_all(self) -> dict[Outcome, int]:
        """Verdicts of all tasks."""
        found: Counter[Outcome] = Counter()
        for verdicts in self.verdicts.values():
            found.update(verdicts)
        return dict(found)


def count_by_task(session: Session, condition: ColumnElement[bool]) -> TaskCounts:
    """Count the living claims that fit a condition."""
    rows = session.execute(
        select(Claim.dataset_id, Claim.task_id, VerdictRow.outcome, func.count())
        .outerjoin(VerdictRow, VerdictRow.claim_id == Claim.claim_id)
        .where(Claim.live, condition)
        .group_by(Claim.dataset_id, Claim.task_id, VerdictRow.outcome)
    )
    claims: Counter[TaskKey] = Counter()
    verdicts: dict[TaskKey, dict[Outcome, int]] = defaultdict(dict)
    for dataset_id, task_id, outcome, number in rows:
        claims[dataset_id, task_id] += number
        if outcome is not None:
            verdicts[dataset_id, task_id][Outcome(outcome)] = number
    return TaskCounts(claims, verdicts)


def match_rate(verdicts: dict[Outcome, int]) -> float | None:
    """Verified of those where the scores were compared with a result; None where there is none."""
    verified, mismatch = (verdicts.get(each, 0) for each in (Outcome.VERIFIED, Outcome.MISMATCH))
    return verified / (verified + mismatch) if verified + mismatch else None


def points(
    session: Session, conditions: Sequence[ColumnElement[bool]], cursor: str | None, limit: int
) -> Page[ScorePoint]:
    """Measured claims that were not withdrawn, those submitted last first."""
    wanted = [Claim.live, VerdictRow.outcome.in_(MEASURED), *conditions]
    if cursor is not None:
        wanted.append(pages.after(cursor, Claim.created_at, Claim.claim_id))
    newest_first = (Claim.created_at.desc(), Claim.claim_id.desc())
    both = VerdictRow.claim_id == Claim.claim_id
    # The page first, then what hangs on it: along an index on claims, and no further than it takes.
    page = session.scalars(
        select(Claim.claim_id).join(VerdictRow, both).where(*wanted).order_by(*newest_first).limit(limit + 1)
    ).all()
    rows = session.execute(
        select(VerdictRow.outcome, VerdictRow.verdict, VerdictRow.decided_at, *SHOWN)
        .join(Claim, both)
        .where(Claim.claim_id.in_(page))
        .order_by(*newest_first)
    ).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return Page[ScorePoint](
        # An inconclusive verdict may have no comparison.
        items=tuple(_point(row) for row in rows[:limit] if row.verdict["comparison"] is not None),
        next=pages.encode(last.created_at, last.claim_id) if last is not None else None,
    )


SHOWN = (
    Claim.claim_id,
    Claim.created_at,
    Claim.model_id,
    Claim.dataset_id,
    Claim.task_id,
    Claim.submitter,
    Claim.pull_request,
)


def _point(row: Any) -> ScorePoint:  # a row of the query above
    # Was checked when it was written.
    compared: dict[str, Any] = row.verdict["comparison"]
    return ScorePoint(
        claim_id=row.claim_id,
        model=row.model_id,
        dataset=row.dataset_id,
        task=row.task_id,
        submitter=row.submitter,
        pull_request=row.pull_request,
        outcome=Outcome(row.outcome),
        claimed=compared["claimed"],
        reproduced=compared["reproduced"],
        standard_error=compared["standard_error"],
        interval=compared["interval"],
        tolerance=compared["tolerance"],
        samples_used=compared["samples_used"],
        population=compared["population"],
        decided_at=row.decided_at,
    )


def tasks(counts: TaskCounts, shown: Sequence[ScorePoint]) -> tuple[TaskScores, ...]:
    """Each task with its counts and its points: those that have points first, then by measured claims, then by claims.

    Anybody may claim scores on tasks that there are not: those are never measured, and push aside none that was.
    """
    by_task: dict[TaskKey, list[ScorePoint]] = defaultdict(list)
    for point in shown:
        by_task[point.dataset, point.task].append(point)

    def rank(key: TaskKey) -> tuple[bool, int, int, str, str]:
        verdicts = counts.verdicts.get(key, {})
        measured = sum(verdicts.get(each, 0) for each in MEASURED)
        return key not in by_task, -measured, -counts.claims[key], key[0] or "", key[1] or ""

    return tuple(
        TaskScores(
            dataset=key[0],
            task=key[1],
            claims=counts.claims[key],
            verdicts=counts.verdicts.get(key, {}),
            match_rate=match_rate(counts.verdicts.get(key, {})),
            points=tuple(by_task[key]),
        )
        for key in sorted(counts.claims, key=rank)[:TASKS_SHOWN]
    )
