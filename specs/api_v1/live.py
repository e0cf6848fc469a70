"""What the API says, version 1, while a run goes on. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from specs.api_v1.views import View
from specs.judging.verdict import Interval
from specs.measurement import Proportion


class ProgressView(View):
    """How far a run is: the data of a `progress` message of `/v1/events`."""

    reproduction_id: str
    attempt: int
    claims: tuple[str, ...]
    """Ids of claims that it judges, 20 at most."""

    stage: str | None
    samples_done: int
    samples_total: int | None
    score: Proportion | None
    score_interval: Interval | None
    """As in `ReproductionSummary`."""
