"""The points of pictures: claimed scores beside reproduced ones."""

from __future__ import annotations

from fastapi import APIRouter

from scheduler.api import pages, scores
from scheduler.api.dependencies import Reading
from scheduler.database.tables import Claim
from specs.api_v1.scores import ScorePoint
from specs.api_v1.views import Page

router = APIRouter(prefix="/v1/points", tags=["scores"])


@router.get("")
def list_points(
    session: Reading,
    model: pages.Filter = None,
    dataset: pages.Filter = None,
    task: pages.Filter = None,
    cursor: pages.PageCursor = None,
    limit: pages.Limit = 50,
) -> Page[ScorePoint]:
    """Claimed scores beside reproduced ones, of measured claims that were not withdrawn, those submitted last first."""
    about = pages.fitting((Claim.model_id, model), (Claim.dataset_id, dataset), (Claim.task_id, task))
    return scores.points(session, about, cursor, limit)
