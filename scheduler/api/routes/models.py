"""One model, and how its claims came out."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scheduler.api import pages, scores
from scheduler.api.dependencies import Reading, Source, TheSource
from scheduler.api.problems import NotFound
from scheduler.database.tables import BEING_LOOKED_AT, Claim, Model
from scheduler.state_machine import ClaimState
from specs.api_v1.scores import ModelDetail

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("/{namespace}/{name}")
def show_model(source: TheSource, session: Reading, namespace: pages.NamePart, name: pages.NamePart) -> ModelDetail:
    """One model: its weights, and how its claims came out."""
    return _model(source, session, f"{namespace}/{name}")


@router.get("/{name}")
def show_model_without_namespace(source: TheSource, session: Reading, name: pages.NamePart) -> ModelDetail:
    """One model whose id has no namespace."""
    return _model(source, session, name)


def _model(source: Source, session: Session, model_id: str) -> ModelDetail:
    row = session.get(Model, model_id)
    if row is None:
        raise NotFound(f"no model {model_id} was seen on the Hub")
    condition = Claim.model_id == model_id

    def count() -> tuple[scores.TaskCounts, dict[str, int]]:
        by_state = session.execute(select(Claim.state, func.count()).where(condition).group_by(Claim.state))
        return scores.count_by_task(session, condition), {row[0]: row[1] for row in by_state}

    counted = source.count(session, ("model", model_id), count)
    counts, by_state = counted.value
    shown = scores.points(session, [condition], None, scores.POINTS_SHOWN)
    return ModelDetail(
        id=row.model_id,
        revision=row.revision,
        gated=row.gated,
        weights_sha256=row.weights_sha256,
        weights_bytes=row.weights_bytes,
        looked_at=row.looked_at if row.looked_at != BEING_LOOKED_AT else None,
        claims={state.value: by_state.get(state, 0) for state in ClaimState},
        verdicts=counts.in_all,
        match_rate=scores.match_rate(counts.in_all),
        tasks=scores.tasks(counts, shown.items),
        points_next=shown.next,
        counted_at=None if counted.current else counted.at,
    )
