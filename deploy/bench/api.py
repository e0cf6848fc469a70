"""What the API takes beside the least that FastAPI can answer, with 100,000 claims in PostgreSQL.

Started by this: a PostgreSQL server, the API and the bare route, one process each; the load comes from another. Every
case is measured right after the bare route, some times over, and the ratio is the median of theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.bench.api_client import Asked
from deploy.bench.api_rows import claim_id, fill
from deploy.bench.postgres import running_postgres
from scheduler.database.session import Database
from scheduler.database.tables import Claim, Event, now


@dataclass(frozen=True)
class Case:
    """One way to ask."""

    name: str
    asked: Asked
    aim: float | None
    changing: bool = False
    """Whether something is written ten times a second meanwhile."""


@dataclass(frozen=True)
class Figures:
    """What the load saw."""

    per_second: float
    p99_milliseconds: float


@dataclass(frozen=True)
class Load:
    """How much is asked."""

    seconds: float
    connections: int
    rounds: int


@contextmanager
def serving(app: str, environment: dict[str, str], *more: str) -> Iterator[int]:
    """One uvicorn process; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", app, *more, "--http", "h11", "--port", str(port), "--no-access-log"]
    process = subprocess.Popen([*command, "--log-level", "warning"], env={**os.environ, **environment})
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                time.sleep(0.05)
            else:
                break
        yield port
    finally:
        process.terminate()
        process.wait(30)


def load(port: int, asked: Asked, how: Load) -> Figures:
    """Ask from another process."""
    command = [sys.executable, "-m", "deploy.bench.api_client", str(port), str(how.seconds), str(how.connections)]
    answer = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True).stdout
    found = json.loads(answer)
    if not set(found["statuses"]) <= {200, 304}:
        raise RuntimeError(f"answers with {found['statuses']}")
    return Figures(found["requests_per_second"], found["p99_milliseconds"])


def etag_of(port: int, path: str) -> str:
    """As the API gives it now."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
        return str(answer.headers["etag"])


@contextmanager
def changes(database: Database, claims: int) -> Iterator[None]:
    """Have a claim change, with its event, ten times a second."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.1):
            number += 1
            with database.transaction() as session:
                # The newest claim, which the list shows, and that which is shown.
                row = session.get_one(Claim, claim_id(claims - 1))
                row.notes = f"change {number}"
                event = Event(actor="bench", subject="claim", subject_id=row.claim_id, what="changed", why="bench")
                event.at = now()
                session.add(event)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def cases(port: int, claims: int) -> list[Case]:
    """What is measured."""
    show, listed = f"/v1/claims/{claim_id(claims - 1)}", "/v1/claims?limit=50"
    others: Asked = [(f"/v1/claims/{claim_id(number * 7919 % claims)}", None) for number in range(20_000)]
    pages: Asked = [(f"{listed}&model=m/{number}", None) for number in range(2000)]
    return [
        Case("304 poll of a claim", [(show, etag_of(port, show))], 0.7),
        Case("304 poll of a list of 50", [(listed, etag_of(port, listed))], 0.7),
        Case("show", [(show, None)], 0.5),
        Case("list of 50", [(listed, None)], 0.3),
        Case("show, the claim changes 10 times a second", [(show, None)], None, changing=True),
        Case("list of 50, claims change 10 times a second", [(listed, None)], None, changing=True),
        Case("show, each time another of 20,000", others, None),
        Case("list of 50, each time of another of 2,000 models", pages, None),
    ]


def measure(case: Case, api: int, bare: int, how: Load, database: Database, claims: int) -> None:
    """Print one line of the table."""
    ratios, found, beside = [], [], []
    for number in range(how.rounds):
        # From elsewhere in a long list, or what the round before asked for would be remembered.
        begin = len(case.asked) * number // how.rounds
        asked = [*case.asked[begin:], *case.asked[:begin]]
        beside.append(load(bare, [("/bare", None)], how))
        if case.changing:
            with changes(database, claims):
                found.append(load(api, asked, how))
        else:
            found.append(load(api, asked, how))
        ratios.append(found[-1].per_second / beside[-1].per_second)
    per_second = statistics.median(each.per_second for each in found)
    p99 = statistics.median(each.p99_milliseconds for each in found)
    p99_bare = statistics.median(each.p99_milliseconds for each in beside)
    ratio = statistics.median(ratios)
    aim = f"{case.aim:.1f}" if case.aim is not None else "–"
    print(f"| {case.name} | {per_second:,.0f} | {ratio:.2f} | {aim} | {p99:.1f} ms | {p99_bare:.1f} ms |", flush=True)  # noqa: T201


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    how = Load(chosen.seconds, chosen.connections, chosen.rounds)
    with running_postgres(lasting=True) as server:
        database = Database(server.url())
        database.upgrade()
        fill(database, chosen.claims)
        environment = {
            "REPROFARM_DATABASE_URL": server.url(),
            "REPROFARM_SIGNING_KEY": str(server.folder / "signing.pem"),
            # The limit of one caller would be measured, and not what answering takes.
            "REPROFARM_READS_PER_MINUTE": "0",
        }
        factory = "scheduler.api.app:create_app_from_environment"
        with serving(factory, environment, "--factory") as api, serving("deploy.bench.bare_app:app", {}) as bare:
            print("| asked | requests/s | of the bare route | aim | p99 | bare p99 |")  # noqa: T201
            print("| --- | ---: | ---: | ---: | ---: | ---: |")  # noqa: T201
            for case in cases(api, chosen.claims):
                measure(case, api, bare, how, database, chosen.claims)
        database.engine.dispose()


if __name__ == "__main__":
    main()
