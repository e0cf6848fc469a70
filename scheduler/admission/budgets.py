"""Whether the operator's budget has room for a new reproduction.

What counts on a day (UTC) is what was planned on it: the estimate of each reproduction, and what it took once it is
complete, of which its engine's start stays an estimate. It counts for the claim that caused it. Claims that join are
free, except one that turns it into a full run: that claim is then charged for all of it. A reproduction that failed,
or was cancelled after it was sent, counts as its estimate, or as what its attempts held GPUs for where that is more.
One that was cancelled before it was ever sent counts nothing, nor does one that a repo was closed to before it had an
engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, true
from sqlalchemy.orm import Session

from scheduler.database import advisory_locks
from scheduler.database.tables import Attempt, Claim, Reproduction
from scheduler.state_machine import CAME_TO_NOTHING, ReproductionState
from specs.measurement import stored_seconds, stored_share
from specs.messages import Stage
from specs.policy.budget import BudgetLimits, BudgetRules
from specs.policy.cost import Estimate, gpu_seconds, start_gpu_seconds

OVER = "over the day's budget of "
"""How the reason begins of a claim for which a day has no room left."""

OF_ANOTHER_DAY = "would have a run that was planned on another day ask every sample, "
"""And of one for which none is made."""

APPROVAL_MARGIN = 1.5
"""An approval holds while the estimate is at most so many times the approved one: a model may be replaced after it."""


@dataclass(frozen=True)
class Held:
    """The claim has to wait."""

    reason: str
    until: datetime | None
    """When it may have room; None where it waits for an approval."""


@dataclass(frozen=True)
class DaysBudget:
    """A limit of the day, and what counts against it, in GPU-seconds."""

    limit: float
    planned: float
    """Spent or planned since midnight."""


def of_today(session: Session, budget: BudgetRules, at: datetime) -> Mapping[str, DaysBudget]:
    """The budgets of the day that policy sets, for the whole `farm` and for the `community`'s claims."""
    limits = {"farm": budget.gpu_seconds_per_day, "community": budget.community.gpu_seconds_per_day}
    counts = {"farm": true(), "community": Reproduction.community.is_(True)}
    return {
        scope: DaysBudget(limit, _planned_since(session, _midnight(at), counts[scope]))
        for scope, limit in limits.items()
        if limit is not None
    }


def take_turn(session: Session, budget: BudgetRules) -> None:
    """Let nobody else add to what is planned until the transaction ends, where budgets depend on it.

    Two planners would each find the room that is there for one.
    """
    if budget.by_the_day_at_all:
        advisory_locks.acquire(session, "add to what is planned")


def held_back(session: Session, budget: BudgetRules, claim: Claim, cost: Estimate, at: datetime) -> Held | None:
    """Why a new reproduction for a claim has to wait; None where it need not."""
    community = claim.pull_request is not None
    approved = claim.approved_gpu_seconds
    is_approved = approved is not None and cost.gpu_seconds <= APPROVAL_MARGIN * approved
    above = budget.approval_above(community=community)
    if above is not None and cost.gpu_seconds > above and not is_approved:
        return Held(
            f"waits for an operator's approval: about {_seconds(cost.gpu_seconds)} ({cost.basis}), above"
            f" {_seconds(above)} (reprofarm approve {claim.claim_id})",
            None,
        )
    if is_approved and claim.approved_over_budget:
        return None
    for limits, of_community in ((budget, False), (budget.community, True)):
        if of_community <= community:
            held = _over_a_limit(session, limits, claim, cost, at, of_community=of_community)
            if held is not None:
                return held
    return None


def count_as(
    session: Session, budget: BudgetRules, reproduction: Reproduction, claim: Claim, cost: Estimate, at: datetime
) -> Held | None:
    """Count one that was not sent out yet as what it costs by a claim that is to join it, and for that claim.

    Where there is no room for that: why the claim has to wait, and nothing is changed.
    """
    before = reproduction.gpu_seconds
    # What it counts as now is no room that somebody else has.
    reproduction.gpu_seconds = None
    session.flush()
    held = held_back(session, budget, claim, cost, at)
    midnight = _midnight(at)
    of_another_day = budget.by_the_day_at_all and reproduction.created_at < midnight
    if held is None and of_another_day and not claim.approved_over_budget:
        # It would count on that day: any number of such runs would fit into what is left of this one.
        held = Held(
            f"{OF_ANOTHER_DAY}at about {_seconds(cost.gpu_seconds)} ({cost.basis}); looked at again at 00:00 UTC",
            midnight + timedelta(days=1),
        )
    if held is not None:
        reproduction.gpu_seconds = before
        return held
    reproduction.gpu_seconds, reproduction.caused_by = cost.gpu_seconds, claim.claim_id
    reproduction.submitter, reproduction.community = claim.submitter, claim.pull_request is not None
    return None


def waiting_without_need(budget: BudgetRules) -> ColumnElement[bool]:
    """The claims that wait for an approval that policy no longer asks for."""
    kinds = []
    for community in (False, True):
        above = budget.approval_above(community=community)
        kind = Claim.pull_request.is_not(None) if community else Claim.pull_request.is_(None)
        kinds.append(and_(kind, Claim.gpu_seconds <= above if above is not None else true()))
    return and_(Claim.awaits_approval, or_(*kinds))


def waiting_for_midnight() -> ColumnElement[bool]:
    """The blocked claims that wait for the room of another day: a key alone is kept of others too."""
    told = or_(*(Claim.reason.startswith(each, autoescape=True) for each in (OVER, OF_ANOTHER_DAY)))
    return and_(Claim.run_key.is_not(None), told)


def settle(reproduction: Reproduction) -> None:
    """Count a reproduction that came to its end as what it took, as far as that is known."""
    if reproduction.state == ReproductionState.COMPLETED and reproduction.measurement is not None:
        # What ran beside it on the same engine is counted for by itself.
        took, gpus = stored_seconds(reproduction.measurement), held_gpus(reproduction.settings)
        if reproduction.measurement.get("resumed"):
            # Its times are those of the last part; the parts before it held the GPUs too. What ran beside those is not
            # known: taken to be as much as ran beside the last.
            before = sum(_held_seconds(attempt) for attempt in reproduction.attempts if attempt.partial_sha256)
            took += stored_share(reproduction.measurement) * before
        reproduction.gpu_seconds = start_gpu_seconds(reproduction.weights_bytes, gpus) + gpu_seconds(took, gpus)
    elif reproduction.state == ReproductionState.CANCELLED and reproduction.attempt == 0:
        reproduction.gpu_seconds = None
    elif reproduction.state in CAME_TO_NOTHING:
        # No worker measured it, and by this clock none has to be believed. What ran beside it is not known.
        held = sum(_held_seconds(attempt) for attempt in reproduction.attempts)
        if held > 0:
            gpus = held_gpus(reproduction.settings)
            took = start_gpu_seconds(reproduction.weights_bytes, gpus) + gpu_seconds(held, gpus)
            reproduction.gpu_seconds = max(reproduction.gpu_seconds or 0.0, took)


def held_gpus(settings: Mapping[str, Any]) -> int:
    """GPUs of the worker that ran, or runs, a reproduction with such settings: a `RunSettings` as JSON."""
    held = settings.get("held_gpus")
    return int(settings.get("gpus", 0) if held is None else held)


def _held_seconds(attempt: Attempt) -> float:
    # While it waited behind others of its batch, those held the GPUs. When it began is not known of early ones.
    begun_at = attempt.begun_at or (attempt.started_at if attempt.stage != Stage.WAITING else None)
    if begun_at is None or attempt.ended_at is None:
        return 0.0
    return max((attempt.ended_at - begun_at).total_seconds(), 0.0)


def _over_a_limit(
    session: Session, limits: BudgetLimits, claim: Claim, cost: Estimate, at: datetime, *, of_community: bool
) -> Held | None:
    midnight = _midnight(at)
    namespace, slash, _ = claim.model_id.partition("/")
    whose = "community claims" if of_community else "the farm"
    ends = " for community claims" if of_community else ""
    of_submitter = Reproduction.submitter.is_not_distinct_from(claim.submitter)
    # LIKE would take upper and lower case for the same on SQLite. A model without a namespace is one by itself.
    start = namespace + slash
    of_namespace = (
        func.substr(Reproduction.model_id, 1, len(start)) == start if slash else Reproduction.model_id == namespace
    )
    rules: tuple[tuple[float | None, ColumnElement[bool], str], ...] = (
        (limits.gpu_seconds_per_day, true(), whose),
        (limits.gpu_seconds_per_submitter, of_submitter, f"submitter {claim.submitter or 'unknown'}{ends}"),
        (limits.gpu_seconds_per_namespace, of_namespace, f"namespace {namespace}{ends}"),
    )
    for limit, condition, name in rules:
        if limit is None:
            continue
        spent = _planned_since(
            session, midnight, and_(condition, Reproduction.community) if of_community else condition
        )
        if spent + cost.gpu_seconds > limit:
            return Held(_no_room(claim, cost, limit, spent, name), midnight + timedelta(days=1))
    return None


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _planned_since(session: Session, start: datetime, condition: ColumnElement[bool]) -> float:
    query = select(func.sum(Reproduction.gpu_seconds)).where(Reproduction.created_at >= start, condition)
    return session.scalar(query) or 0.0


def _no_room(claim: Claim, cost: Estimate, limit: float, spent: float, name: str) -> str:
    if cost.gpu_seconds > limit:
        return (
            f"{OVER}{name} by itself: about {_seconds(cost.gpu_seconds)} ({cost.basis}) of"
            f" {_seconds(limit)}; an operator may raise it, or run reprofarm approve {claim.claim_id} --over-budget"
        )
    return (
        f"{OVER}{name}: {spent:,.0f} of {_seconds(limit)} are planned or spent today, and this takes"
        f" about {cost.gpu_seconds:,.0f} ({cost.basis}); looked at again at 00:00 UTC"
    )


def _seconds(amount: float) -> str:
    return f"{amount:,.0f} GPU-seconds"
