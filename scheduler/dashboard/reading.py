"""What pages read besides whole answers of the API."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scheduler.database.tables import Claim, Worker


def claims_of_runs(session: Session, runs: Iterable[str]) -> dict[str, str]:
    """A claim that each of these runs judges, by the run's id."""
    judged = (
        select(Claim.reproduction_id, func.min(Claim.claim_id))
        .where(Claim.reproduction_id.in_(list(runs)), Claim.live)
        .group_by(Claim.reproduction_id)
    )
    return {run: claim for run, claim in session.execute(judged) if run is not None}


def count_workers(session: Session) -> int:
    """All that the farm knows of, lost ones too."""
    return session.scalar(select(func.count()).select_from(Worker)) or 0
