"""What the control plane's steps cost as the database grows, on PostgreSQL: flat is what they are to be.

Each size is a database of its own, of rows as a farm leaves them behind (api_rows.py). What grows is what was decided;
as many reproductions are queued at every size, and as many new claims come in. What a long queue costs is another
question, and `make bench-load` asks it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi.testclient import TestClient
from sqlalchemy import select, update

from deploy.bench import api_rows
from deploy.bench.control_plane import NO_HUB
from deploy.bench.load_rows import add_claims, load_policy
from deploy.bench.paper_hub import PaperHub, serving
from deploy.bench.postgres import running_postgres
from scheduler.api.app import create_app
from scheduler.badges import issuing
from scheduler.badges.signing import Signer
from scheduler.collect import reaping, workforce
from scheduler.database.session import Database
from scheduler.database.tables import Model, Reproduction, StaleWalk, now
from scheduler.dispatch.dispatching import dispatch
from scheduler.farm import Farm
from scheduler.hub.hub import Hub
from scheduler.messaging import outbox
from scheduler.planning.planning import plan
from scheduler.settings import Settings
from scheduler.state_machine import ReproductionState
from scheduler.watch.scan import scan
from scheduler.watch.stale_walks import ALL
from scheduler.watch.staleness import mark_stale
from specs.policy.reverify import ReverifyRules
from specs.policy.rules import WatchRules

QUEUE = 200
NEW_CLAIMS = 100
ROUNDS = 5
POOL = "large"


@dataclass(frozen=True)
class Step:
    """What one step took at one size, at the median."""

    name: str
    milliseconds: float


def growth(sizes: tuple[int, ...]) -> dict[int, list[Step]]:
    """The steps at each number of claims."""
    found = {}
    for size in sizes:
        with running_postgres(lasting=True) as server:
            database = Database(server.url())
            try:
                found[size] = _steps(database, server.url(), server.folder, size)
            finally:
                database.engine.dispose()
    return found


def _steps(database: Database, url: str, folder: Path, size: int) -> list[Step]:
    database.upgrade()
    api_rows.fill(database, size, QUEUE)
    with database.transaction() as session:
        # As in a farm that runs: looked at lately, and queued lately.
        session.execute(update(Model).values(looked_at=now()))
        session.execute(update(Reproduction).where(Reproduction.state == ReproductionState.QUEUED).values(since=now()))
    key = folder / "signing.pem"
    Signer.create(key)
    farm = Farm(Settings(database_url=url, signing_key=key))
    policy, hub = load_policy(), Hub(NO_HUB, None, 1)
    paper = PaperHub(10, 20)
    with serving(paper) as address, TestClient(create_app(farm.settings)) as client:
        watched = Hub(address, None, 10)
        scan(database, watched, WatchRules())
        while plan(database, hub, policy):
            pass
        add_claims(database, NEW_CLAIMS)

        def poll() -> None:
            paper.change(7)
            scan(database, watched, WatchRules())

        def send_out() -> None:
            _free_the_queue(database)
            dispatch(database, policy)

        missing = issuing.Missing(farm)
        # Once a process all are looked at.
        missing.sign()
        _look_at_all_once(database, policy.reverify)
        claim = f"/v1/claims/{api_rows.claim_id(size // 2)}"
        steps: dict[str, Callable[[], object]] = {
            f"plan {NEW_CLAIMS} new claims": lambda: plan(database, hub, policy),
            "poll in which one model changed": poll,
            "dispatch two batches": send_out,
            "relay messages": lambda: outbox.relay(database, lambda **_: None),
            "look for what got lost": lambda: (workforce.find_lost(database), reaping.reap(database, policy, _none)),
            "look for badges to sign": missing.sign,
            "look for what is stale": lambda: mark_stale(database, policy.reverify),
            "GET /v1/claims/ID": lambda: client.get(claim).raise_for_status(),
            "GET /metrics": lambda: client.get("/metrics").raise_for_status(),
        }
        return [Step(name, _median(step, 1 if name.startswith("plan") else ROUNDS)) for name, step in steps.items()]


def _look_at_all_once(database: Database, rules: ReverifyRules) -> None:
    """As after a farm's first hour: every verdict was looked at once for whether it is stale."""
    through = select(StaleWalk.walk_id).where(StaleWalk.subject == ALL, StaleWalk.passes > 0)
    while True:
        mark_stale(database, rules)
        with database.reading() as session:
            if session.scalar(through) is not None:
                return


def _none(_queue: str) -> set[str]:
    return set()


def _free_the_queue(database: Database) -> None:
    """As if a worker had taken what was sent out."""
    with database.transaction() as session:
        sent = Reproduction.state == ReproductionState.DISPATCHED
        session.execute(update(Reproduction).where(sent).values(state=ReproductionState.RUNNING))


def _median(step: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        step()
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)
