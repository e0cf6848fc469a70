"""Models that the next scan looks at, whenever that was done last."""

from __future__ import annotations

from sqlalchemy.orm import Session

from scheduler.database.tables import Model


def mark_due(session: Session, model_ids: set[str]) -> None:
    """Have models looked at by the next scan; part of the caller's transaction."""
    for model_id in sorted(model_ids):
        model = session.get(Model, model_id)
        if model is None:
            session.add(Model(model_id=model_id))
        else:
            model.looked_at = None
