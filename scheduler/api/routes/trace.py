"""How a completed run's score closed in on the claims that it judges."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.api.callers.callers import counted_as
from scheduler.api.dependencies import Reading
from scheduler.api.ids import START, IdOrStart, whole_id
from scheduler.api.problems import NotFound, TooManyTraces
from scheduler.api.turns import Turns
from scheduler.database.tables import Claim, Reproduction
from specs.api_v1.trace import TracePoint, TraceView

router = APIRouter(prefix="/v1/reproductions", tags=["reproductions"])

MANY_TRACES = 256
_told: OrderedDict[tuple[str, str], TraceView] = OrderedDict()
"""Those that were asked for last: measurements of completed runs never change, and telling one takes half a second."""

_told_lock = Lock()
_turns = Turns(TooManyTraces, "how their runs closed in on a claim")


@router.get("/{reproduction_id}/trace")
def trace_of_reproduction(
    request: Request,
    session: Reading,
    reproduction_id: IdOrStart,
    claim: Annotated[
        str | None,
        Query(
            pattern=START.pattern,
            description="One of those that it judges, or the start of its id; the first, if not given.",
        ),
    ] = None,
) -> TraceView:
    """How a run's score closed on a claim's tolerance band; 404 until the run is complete, 503 while too many ask.

    For a run that goes on, draw `samples_done` and `score` of `/v1/reproductions/{id}` as they come.
    """
    found = whole_id(session, Reproduction.reproduction_id, reproduction_id, "reproduction")
    judged = select(Claim).where(Claim.reproduction_id == found, Claim.rules.is_not(None))
    if claim is not None:
        judged = judged.where(Claim.claim_id == whole_id(session, Claim.claim_id, claim, "claim"))
    row = session.scalars(judged.order_by(Claim.created_at, Claim.claim_id).limit(1)).first()
    if row is None:
        raise NotFound(f"reproduction {found} judges no such claim")
    key = (found, row.claim_id)
    told = _remembered(key)
    if told is None:
        with _turns.turn_of(counted_as(request)):
            # Whoever had the turn before may have asked for the same.
            told = _remembered(key) or _tell(session, found, row)
            _remember(key, told)
    return told


def _remembered(key: tuple[str, str]) -> TraceView | None:
    with _told_lock:
        if key in _told:
            _told.move_to_end(key)
        return _told.get(key)


def _remember(key: tuple[str, str], told: TraceView) -> None:
    with _told_lock:
        _told[key] = told
        if len(_told) > MANY_TRACES:
            _told.popitem(last=False)


def _tell(session: Session, reproduction_id: str, claim: Claim) -> TraceView:
    reproduction = session.get_one(Reproduction, reproduction_id)
    if reproduction.measurement is None:
        raise NotFound(f"reproduction {reproduction_id} has measured nothing yet: it is {reproduction.state}")
    return trace_view(reproduction, claim)


def trace_view(reproduction: Reproduction, claim: Claim) -> TraceView:
    """The trace of a completed run for one of its claims."""
    # These import NumPy and the statistics, which no other answer needs.
    from scheduler.judging.stopping import judged_by, stopping_of  # noqa: PLC0415
    from specs.judging.closing import closing  # noqa: PLC0415
    from specs.measurement import Measurement  # noqa: PLC0415

    measurement = Measurement.model_validate(reproduction.measurement, strict=False)
    judged, stopping = judged_by(claim, reproduction, stopping_of(reproduction))
    found = closing(judged, stopping, measurement)
    points: list[dict[str, Any]] = [
        {
            "samples": each.samples,
            "score": each.finding.estimate,
            "low": each.finding.interval.low,
            "high": each.finding.interval.high,
        }
        for each in found.points
    ]
    return TraceView(
        reproduction_id=reproduction.reproduction_id,
        claim_id=claim.claim_id,
        claimed=judged.claimed,
        tolerance=found.tolerance,
        alpha=stopping.alpha,
        population=measurement.population,
        decision=found.decision,
        decided_after=found.decided_after,
        points=tuple(TracePoint.model_validate(each) for each in points),
    )
