"""Claims to verdicts, where runs take no time, beside bare Celery tasks that do nothing on the same Redis.

Real processes: Redis, control workers, beat, API, and a worker that reports at once (instant_worker.py). Claims are
rows that were entered before, all true. The clock runs from when they are there to be planned until each has its
verdict: planned, dispatched, reported, its log checked, judged. Both sides are warm: before the clock starts the farm
decides the claims of two other models and signs their badges, as the bare worker takes a task. What goes on meanwhile
counts too: badges are signed by the same control workers. The farm knows that the runs are short, by the
dataset's card and by policy, so that those of one model travel together. A claim that joins a run costs no run, so the
pace is measured for claims that each need their own, and for ten claims a run; the first is the pace of reproductions,
the second that of a popular model.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import redis
from celery import Celery
from sqlalchemy import func, select, update

from deploy.bench import bare_tasks, instant_worker
from deploy.bench.control_plane import ControlPlane, start_control_plane
from deploy.bench.instant_log import GENERATION, SAMPLES
from deploy.bench.load_rows import TASKS, add_claims, load_policy
from deploy.bench.postgres import running_postgres
from deploy.farm.control_plane import CONTROL_THREADS, QUIET, celery
from deploy.farm.processes import Process, Processes
from scheduler.database.session import Database
from scheduler.database.tables import Badge, Benchmark, Claim, VerdictRow
from scheduler.schedule import PLAN
from scheduler.state_machine import ClaimState
from specs.hub.dataset_card import DEFAULT_CONFIG
from specs.judging.verdict import Outcome
from specs.messages import CONTROL_QUEUE
from specs.policy.generation import GenerationSettings
from specs.policy.verification import VerificationRules
from workers.processes.guarded import clean_environment

POOL = "small"
TRUE_SCORE = 50.0
WARMING_RUNS = 2 * TASKS
"""Of two models: processes do most of what they do for the first time, which takes each a second or two."""

PATIENCE_SECONDS = 900.0
LOOK_SECONDS = 0.05
SHORT = VerificationRules(generation=GenerationSettings(max_tokens=GENERATION.max_tokens))


@dataclass(frozen=True)
class Pace:
    """What was measured on one database."""

    claims: int
    seconds: float
    verified: int
    badges: int
    """Signed when the last verdict was there."""

    bare_per_second: float
    """The mean of before and after: the machine's pace is not steady."""

    @property
    def per_second(self) -> float:
        """Claims that got their verdict."""
        return self.claims / self.seconds

    @property
    def ratio(self) -> float:
        """To bare tasks."""
        return self.per_second / self.bare_per_second


def pace(claims: int, sharing: int, bare: int, database_url: str | None = None, control_workers: int = 1) -> Pace:
    """Measure it, on SQLite where no database is named; only PostgreSQL takes several control workers.

    `sharing` is the number of claims of one reproduction.
    """
    with tempfile.TemporaryDirectory(prefix="reprofarm-bench-") as name:
        folder = Path(name)
        database = Database(database_url or f"sqlite:///{folder / 'reprofarm.db'}")
        database.upgrade()
        warming = WARMING_RUNS * sharing
        # Those of one model are entered one after another, so what warms up is of models by themselves.
        add_claims(database, warming + claims, sharing=sharing, value=TRUE_SCORE)
        with database.transaction() as session:
            session.execute(update(Claim).values(state=ClaimState.BLOCKED))
            session.execute(update(Benchmark).values(sizes={DEFAULT_CONFIG: {"test": SAMPLES}}))
        template = _template(folder / "log")
        processes = Processes(folder, folder / "logs")
        try:
            plane = start_control_plane(
                folder, processes, load_policy(verification=SHORT), database_url, control_workers
            )
            before = _bare_pace(processes, plane, bare)
            _start_worker(processes, plane, template)
            _let_in(database, warming, plane)
            processes.wait_until("what warms up", lambda: _count(database, Badge) == warming, PATIENCE_SECONDS)
            began = time.monotonic()
            _let_in(database, claims, plane)
            every = warming + claims
            processes.wait_until("every verdict", lambda: _count(database, VerdictRow) == every, PATIENCE_SECONDS)
            seconds = time.monotonic() - began
            verified, badges = _verified(database) - warming, _count(database, Badge) - warming
            processes.wait_until("every badge", lambda: _count(database, Badge) == every, PATIENCE_SECONDS)
            after = _bare_pace(processes, plane, bare)
            return Pace(claims, seconds, verified, badges, (before + after) / 2)
        finally:
            processes.stop()
            database.engine.dispose()


def paces(runs: int, bare: int) -> dict[str, Pace]:
    """Every claim its own run, and ten claims a run; on SQLite, and on PostgreSQL with one control worker and two."""
    found = {}
    for sharing in (1, 10):
        found[f"SQLite, {_shared(sharing)}"] = pace(runs * sharing, sharing, bare)
        for workers in (1, 2):
            with running_postgres(lasting=True) as server:
                name = "PostgreSQL" if workers == 1 else f"PostgreSQL, {workers} control workers"
                found[f"{name}, {_shared(sharing)}"] = pace(runs * sharing, sharing, bare, server.url(), workers)
    return found


def _shared(sharing: int) -> str:
    return "a run each" if sharing == 1 else f"{sharing} claims a run"


def _template(folder: Path) -> Path:
    # In a process of its own: Inspect leaves threads and settings behind.
    command = [sys.executable, "-m", "deploy.bench.instant_log", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return Path(ended.stdout.splitlines()[-1])


def _bare_pace(processes: Processes, plane: ControlPlane, count: int) -> float:
    environment = clean_environment(BENCH_BROKER_URL=plane.broker_url)
    threads = ["--pool", "threads", "--concurrency", str(CONTROL_THREADS), "--loglevel", QUIET]
    command = celery("deploy.bench.bare_tasks", "worker", "-Q", bare_tasks.QUEUE, *threads)
    processes.start(Process("bare", command, environment))
    sender = Celery("sender", broker=plane.broker_url)

    def send(number: int) -> None:
        sender.send_task(bare_tasks.nothing.name, args=[{"number": str(number)}], queue=bare_tasks.QUEUE)

    with redis.Redis.from_url(plane.broker_url) as client:

        def is_done() -> bool:
            return not client.llen(bare_tasks.QUEUE) and not client.hlen("unacked")

        # It is up once it has taken the first.
        send(0)
        processes.wait_until("the bare worker", is_done, 60)
        time.sleep(1)
        began = time.monotonic()
        for number in range(count):
            send(number)
        while not is_done():
            time.sleep(0.005)
        seconds = time.monotonic() - began
    sender.close()
    processes.stop("bare")
    return count / seconds


def _start_worker(processes: Processes, plane: ControlPlane, template: Path) -> None:
    environment = clean_environment(
        **{
            instant_worker.BROKER: plane.broker_url,
            instant_worker.TEMPLATE: str(template),
            instant_worker.STORE: str(plane.evidence),
        }
    )
    solo = ["-Q", f"pool.{POOL}", "--pool", "solo", "--loglevel", QUIET]
    command = celery("deploy.bench.instant_worker", "worker", *solo)
    processes.start(Process("worker", command, environment))
    time.sleep(5)


def _let_in(database: Database, count: int, plane: ControlPlane) -> None:
    """Have the next claims planned, in the order in which they were entered; a look at the Hub ends in the same way."""
    following = select(Claim.claim_id).where(Claim.state == ClaimState.BLOCKED).order_by(Claim.claim_id).limit(count)
    with database.transaction() as session:
        session.execute(
            update(Claim)
            .where(Claim.claim_id.in_(following))
            .values(state=ClaimState.SUBMITTED)
            .execution_options(synchronize_session=False)
        )
    with Celery("hub", broker=plane.broker_url) as app:
        app.send_task(PLAN, queue=CONTROL_QUEUE)


def _count(database: Database, table: type[VerdictRow] | type[Badge]) -> int:
    time.sleep(LOOK_SECONDS)
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def _verified(database: Database) -> int:
    with database.reading() as session:
        query = select(func.count()).select_from(VerdictRow).where(VerdictRow.outcome == Outcome.VERIFIED)
        return session.scalar(query) or 0
