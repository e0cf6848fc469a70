"""What the control plane's steps cost as the database grows, on PostgreSQL: flat is what they are to be.

Each size is a database of its own, of rows as a farm leaves them behind (api_rows.py). What grows is what was decided;
as many reproductions are queued at every size, and as many new claims come in. What a long queue costs is another
question, and `make bench-load` asks it.

All sizes are up at once, and each step is measured in turns: what else the machine does meanwhile comes to all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from fastapi.testclient import TestClient
from sqlalchemy import select, text, update

from deploy.bench import api_rows
from deploy.bench.control_plane import NO_HUB
from deploy.bench.load_rows import BENCHMARK, COMMIT, add_claims, load_policy
from deploy.bench.paper_hub import PaperHub, serving
from deploy.bench.postgres import running_postgres
from scheduler.api.app import create_app
from scheduler.badges import issuing
from scheduler.badges.signing import Signer
from scheduler.database.session import Database
from scheduler.database.tables import Claim, Model, Reproduction, StaleWalk, now
from scheduler.dispatch.dispatcher import dispatch
from scheduler.farm import Farm
from scheduler.hub.hub import Hub
from scheduler.messaging import outbox
from scheduler.planning.planning import plan
from scheduler.reaping.reaper import reap
from scheduler.settings import Settings
from scheduler.state_machine import ClaimState, ReproductionState
from scheduler.watch.scan import scan
from scheduler.watch.stale_walks import ALL
from scheduler.watch.staleness import mark_stale
from specs.policy.rules import Policy
from specs.policy.watch import WatchRules

QUEUE = 400
NEW_CLAIMS = 100
ROUNDS = 9


@dataclass(frozen=True)
class Step:
    """What one step took at one size, at the median."""

    name: str
    milliseconds: float


@dataclass(frozen=True)
class _Work:
    """A step at one size, and what must be so before each round of it, which is not measured."""

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None

    def milliseconds(self) -> float:
        """What one round takes."""
        self.prepare()
        began = time.perf_counter()
        self.run()
        return 1000 * (time.perf_counter() - began)


def growth(sizes: tuple[int, ...]) -> dict[int, list[Step]]:
    """The steps at each number of claims."""
    with ExitStack() as stack:
        works = {size: stack.enter_context(_farm(size)) for size in sizes}
        found: dict[int, list[Step]] = {size: [] for size in sizes}
        for same in zip(*works.values(), strict=True):
            rounds = [[work.milliseconds() for work in same] for _ in range(ROUNDS)]
            for size, work, took in zip(sizes, same, zip(*rounds, strict=True), strict=True):
                found[size].append(Step(work.name, statistics.median(took)))
    return found


_ON_A_POPULAR_TASK = (
    update(Reproduction)
    .where(Reproduction.dataset_id == "b/0")
    .values(
        {"dataset_id": BENCHMARK, "dataset_revision": COMMIT, "task_id": "task0", "pool": "small"}
        | {"population": 300, "answers": 200, "engine_seconds": 60.0}
    )
)
"""One claim of five that come in is on the task of a twentieth of all runs."""


@contextmanager
def _farm(size: int) -> Iterator[list[_Work]]:
    with running_postgres(lasting=True) as server:
        database = Database(server.url())
        try:
            database.upgrade()
            api_rows.fill(database, size, QUEUE)
            with database.transaction() as session:
                session.execute(_ON_A_POPULAR_TASK)
                # As in a farm that runs: looked at lately, and queued lately.
                session.execute(update(Model).values(looked_at=now()))
                queued = Reproduction.state == ReproductionState.QUEUED
                session.execute(update(Reproduction).where(queued).values(since=now()))
                # What is in a table that grew by itself is known to PostgreSQL, which looks every minute.
                session.execute(text("ANALYZE"))
            Signer.create(server.folder / "signing.pem")
            farm = Farm(Settings(database_url=server.url(), signing_key=server.folder / "signing.pem"))
            paper = PaperHub(10, 20)
            with serving(paper) as address, TestClient(create_app(farm.settings)) as client:
                yield _works(farm, database, size, paper, Hub(address, None, 10), client)
        finally:
            database.engine.dispose()


def _works(farm: Farm, database: Database, size: int, paper: PaperHub, watched: Hub, client: TestClient) -> list[_Work]:
    policy, no_hub = load_policy(), Hub(NO_HUB, None, 1)
    scan(database, watched, WatchRules())
    while plan(database, no_hub, policy):
        pass
    missing = issuing.Missing(farm)
    # Once a process all are looked at.
    missing.sign()
    _look_at_all_once(database, policy)
    claim = f"/v1/claims/{api_rows.claim_id(size // 2)}"
    return [
        _Work(
            "poll in which one model changed", lambda: scan(database, watched, WatchRules()), lambda: paper.change(7)
        ),
        _Work("dispatch two batches", lambda: dispatch(database, policy), lambda: _free_the_queue(database)),
        _Work("relay messages", lambda: outbox.relay(database, lambda **_: None)),
        _Work("look for what got lost", lambda: reap(database, policy, _none, _nowhere)),
        _Work("look for badges to sign", missing.sign),
        _Work(
            "look for what is stale",
            lambda: mark_stale(database, policy),
            lambda: _look_from(database, size // 2),
        ),
        _Work("GET /v1/claims/ID", lambda: client.get(claim).raise_for_status()),
        _Work("GET /metrics", lambda: client.get("/metrics").raise_for_status()),
        # The last, since what it plans is queued.
        _Work(
            f"plan {NEW_CLAIMS} new claims",
            lambda: plan(database, no_hub, policy),
            _Arrivals(database, NEW_CLAIMS * ROUNDS).come,
        ),
    ]


class _Arrivals:
    """Claims that come in as many at a time as are new."""

    def __init__(self, database: Database, count: int) -> None:
        self._database = database
        add_claims(database, count)
        with database.transaction() as session:
            submitted = Claim.state == ClaimState.SUBMITTED
            self._to_come = list(session.scalars(select(Claim.claim_id).where(submitted).order_by(Claim.claim_id)))
            session.execute(update(Claim).where(submitted).values(recheck_at=now() + timedelta(days=1)))
            # Their models are not on the Hub that is polled.
            session.execute(update(Model).where(Model.looked_at.is_(None)).values(looked_at=now()))

    def come(self) -> None:
        """Enter the next ones."""
        come, self._to_come = self._to_come[:NEW_CLAIMS], self._to_come[NEW_CLAIMS:]
        with self._database.transaction() as session:
            session.execute(update(Claim).where(Claim.claim_id.in_(come)).values(recheck_at=None))


def _look_at_all_once(database: Database, policy: Policy) -> None:
    """As after a farm's first hour: every verdict was looked at once for whether it is stale."""
    through = select(StaleWalk.walk_id).where(StaleWalk.subject == ALL, StaleWalk.passes > 0)
    while True:
        mark_stale(database, policy)
        with database.reading() as session:
            if session.scalar(through) is not None:
                return


def _look_from(database: Database, number: int) -> None:
    """Have the walk over all claims go on after one: what it looks at next is decided as often at each size.

    Of few claims it would soon come to those that are new, which take it no time.
    """
    with database.transaction() as session:
        reached = session.get_one(Claim, api_rows.claim_id(number))
        session.execute(
            update(StaleWalk)
            .where(StaleWalk.subject == ALL)
            .values(reached_at=reached.created_at, reached_id=reached.claim_id)
        )


def _none(_queue: str) -> set[str]:
    return set()


def _nowhere(_queue: str, _message_id: str) -> bool:
    return False


def _free_the_queue(database: Database) -> None:
    """As if a worker had taken what was sent out."""
    with database.transaction() as session:
        sent = Reproduction.state == ReproductionState.DISPATCHED
        session.execute(update(Reproduction).where(sent).values(state=ReproductionState.RUNNING))
