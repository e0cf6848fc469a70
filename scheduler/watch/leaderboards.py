"""Which models a leaderboard says have changed.

A row carries no task id, so it is only a hint: what is claimed is read from the result file itself.
"""

from __future__ import annotations

import hashlib
import json

from scheduler.database.session import Database
from scheduler.database.tables import Benchmark
from scheduler.hub.hub import Hub
from scheduler.watch import stale_walks
from scheduler.watch.due_models import mark_due
from specs.hub.leaderboard import LeaderboardRow, parse_leaderboard, written_in_percent


def look_at_leaderboard(database: Database, hub: Hub, dataset_id: str) -> None:
    """Mark every model with a new, changed or vanished row since the last look as due for a look of its own."""
    with database.reading() as session:
        known = session.get(Benchmark, dataset_id)
    if known is None:
        return
    answer = hub.leaderboard(dataset_id, known.leaderboard_etag)
    if answer.rows is None:
        return
    rows = [entry.row for entry in parse_leaderboard(answer.rows) if entry.row is not None]
    digests = {_place(row): _digest(row) for row in rows}
    before: dict[str, str] = known.leaderboard
    moved = {place for place in digests.keys() | before.keys() if digests.get(place) != before.get(place)}
    # Marked in the transaction that remembers the rows: a scan that dies here forgets neither or both.
    with database.transaction() as session:
        mark_due(session, {str(json.loads(place)[0]) for place in moved})
        benchmark = session.get_one(Benchmark, dataset_id)
        benchmark.leaderboard, benchmark.leaderboard_etag = digests, answer.etag
        has_percent = written_in_percent(rows, before=benchmark.has_percent)
        if has_percent != benchmark.has_percent:
            benchmark.has_percent = has_percent
            stale_walks.begin(session, "benchmark", dataset_id)


def _place(row: LeaderboardRow) -> str:
    return json.dumps([row.model_id, row.pull_request, row.filename, row.notes])


def _digest(row: LeaderboardRow) -> str:
    return hashlib.sha256(json.dumps([row.value, row.verified], allow_nan=False).encode()).hexdigest()[:16]
