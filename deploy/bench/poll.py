"""What a poll of the Hub costs where little changed, against reading all of it anew.

The Hub is a made-up one over HTTP (paper_hub.py): benchmarks with so many results each, of as many models. A first
reading of everything is timed, then a poll after a few models changed a result.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from deploy.bench.paper_hub import PaperHub, serving
from scheduler.database.session import Database
from scheduler.database.tables import Claim, Model
from scheduler.hub.hub import Hub
from scheduler.state_machine import ClaimState
from scheduler.watch.scan import scan
from specs.policy.watch import WatchRules

REQUEST_SECONDS = 60.0


@dataclass(frozen=True)
class Reading:
    """What one reading of the Hub took."""

    seconds: float
    requests: Counter[str]
    claims: int
    """Claims in the database after it."""

    @property
    def total(self) -> int:
        """Of all requests."""
        return self.requests.total()


@dataclass(frozen=True)
class PollCost:
    """A reading of everything, a poll after changes, and one after none."""

    benchmarks: int
    results: int
    changes: int
    whole: Reading
    changed: Reading
    unchanged: Reading


def poll_cost(benchmarks: int, results: int, changes: int) -> PollCost:
    """Measure it, on SQLite."""
    paper = PaperHub(benchmarks, results)
    with tempfile.TemporaryDirectory(prefix="reprofarm-bench-") as folder, serving(paper) as url:
        database = Database(f"sqlite:///{Path(folder) / 'reprofarm.db'}")
        database.upgrade()
        hub = Hub(url, None, REQUEST_SECONDS)
        try:
            whole = _read(database, hub, paper)
            for number in range(changes):
                paper.change(number * results // changes + number % benchmarks)
            changed = _read(database, hub, paper)
            return PollCost(benchmarks, results, changes, whole, changed, _read(database, hub, paper))
        finally:
            database.engine.dispose()


def _read(database: Database, hub: Hub, paper: PaperHub) -> Reading:
    before, began = Counter(paper.asked), time.monotonic()
    scan(database, hub, WatchRules())
    while _is_due(database):
        # A scan looks at a bounded number of models; the first takes several.
        scan(database, hub, WatchRules())
    seconds = time.monotonic() - began
    with database.reading() as session:
        claims = session.scalar(select(func.count()).select_from(Claim).where(Claim.state != ClaimState.WITHDRAWN))
    return Reading(seconds, paper.asked - before, claims or 0)


def _is_due(database: Database) -> bool:
    with database.reading() as session:
        return session.scalar(select(Model.model_id).where(Model.looked_at.is_(None)).limit(1)) is not None
