"""Ten thousand claims appear at once: does the farm keep answering, and does anything grow without bound?

Real processes (Redis, API, control worker, beat) on SQLite, or on what `--database` names. Claims are rows that were
entered before, with a spec that is known, so nothing is asked of a Hub; there are no workers. The same requests are
timed before, while nothing is to be planned, so that the ratio does not depend on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil
import redis
from sqlalchemy import func, select, update

from deploy.bench.control_plane import start_control_plane
from deploy.bench.load_rows import add_claims, load_policy
from deploy.farm.processes import Processes
from scheduler.database.session import Database
from scheduler.database.tables import Claim
from scheduler.state_machine import ClaimState
from specs.messages import CONTROL_QUEUE

IDLE_SECONDS = 15.0
PATIENCE_SECONDS = 3600.0
MIB = 2**20


@dataclass
class Peaks:
    """The most that was seen."""

    control_bytes: int = 0
    queues: dict[str, int] = field(default_factory=dict)


def timed(url: str, ids: list[str], until: Callable[[], bool]) -> list[float]:
    """Seconds that each status call took, one after the other, until told to stop."""
    took = []
    with httpx2.Client(timeout=60) as client:
        while not until():
            for claim_id in ids:
                began = time.perf_counter()
                client.get(f"{url}/v1/claims/{claim_id}").raise_for_status()
                took.append(time.perf_counter() - began)
                # As dashboards poll; without a pause it would measure itself.
                time.sleep(0.02)
    return took


def p50_p99(took: list[float]) -> tuple[float, float]:
    """Milliseconds."""
    return 1000 * statistics.median(took), 1000 * statistics.quantiles(took, n=100)[98]


@contextmanager
def watching(broker: str, control_pid: int, queues: list[str]) -> Iterator[Peaks]:
    """Look at the control worker's memory and the queues' lengths all the while."""
    peaks, stop = Peaks(), threading.Event()

    def look() -> None:
        control = psutil.Process(control_pid)
        with redis.Redis.from_url(broker) as client:
            while not stop.wait(0.2):
                held = sum(each.memory_info().rss for each in control.children(recursive=True))
                peaks.control_bytes = max(peaks.control_bytes, held)
                for queue in queues:
                    length = int(client.llen(queue))
                    peaks.queues[queue] = max(peaks.queues.get(queue, 0), length)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()


def planned(database: Database) -> int:
    """Claims that have left where they began."""
    with database.reading() as session:
        query = select(func.count()).select_from(Claim).where(Claim.state != ClaimState.SUBMITTED)
        return session.scalar(query) or 0


def run(count: int, folder: Path, database_url: str | None) -> list[tuple[str, str]]:
    """The table, line by line."""
    url = database_url or f"sqlite:///{folder / 'reprofarm.db'}"
    database = Database(url)
    database.upgrade()
    add_claims(database, count)
    with database.transaction() as session:
        # Nothing is to be done about them yet.
        session.execute(update(Claim).values(state=ClaimState.BLOCKED))
    ids = [f"{number * (count // 50):032x}" for number in range(50)]
    processes = Processes(folder, folder / "logs")
    try:
        plane = start_control_plane(folder, processes, load_policy(), database_url)
        api, broker = plane.api_url, plane.broker_url
        ends = time.monotonic() + IDLE_SECONDS
        idle = p50_p99(timed(api, ids, lambda: time.monotonic() > ends))
        with watching(broker, processes.pids["control"], [CONTROL_QUEUE, "pool.small", "pool.large"]) as peaks:
            began = time.monotonic()
            with database.transaction() as session:
                session.execute(update(Claim).values(state=ClaimState.SUBMITTED))
            late = began + PATIENCE_SECONDS
            took = timed(api, ids, lambda: planned(database) == count or time.monotonic() > late)
            seconds = time.monotonic() - began
        done = planned(database)
    finally:
        processes.stop()
        database.engine.dispose()
    busy = p50_p99(took)
    return [
        ("claims that appeared at once", f"{count:,}"),
        ("planned", f"{done:,} in {seconds:,.0f} s: {done / seconds:,.0f} per second"),
        ("GET /v1/claims/ID idle, p50 and p99", f"{idle[0]:.1f} and {idle[1]:.1f} ms"),
        ("the same meanwhile", f"{busy[0]:.1f} and {busy[1]:.1f} ms ({len(took):,} requests)"),
        ("ratio to idle, p50 and p99", f"{busy[0] / idle[0]:.1f} and {busy[1] / idle[1]:.1f}"),
        ("control worker's memory at most", f"{peaks.control_bytes / MIB:,.0f} MiB"),
        *((f"messages in queue {name} at most", f"{most:,}") for name, most in sorted(peaks.queues.items())),
    ]


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=10_000)
    parser.add_argument("--database", help="an empty one, in SQLAlchemy's form; by default SQLite in a new folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reprofarm-load-") as folder:
        lines = run(asked.claims, Path(folder), asked.database)
    sys.stdout.write("".join(f"{name:42} {value}\n" for name, value in lines))


if __name__ == "__main__":
    main()
