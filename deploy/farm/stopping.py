"""Takes a one-machine farm down, so that nothing that was finished is lost."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import func, select

from deploy.farm.processes import POLL_SECONDS, Processes
from scheduler.database.session import Database
from scheduler.database.tables import Reproduction
from scheduler.state_machine import ReproductionState

TAKE_IN_SECONDS = 5.0
"""For the control worker to take in what workers have handed back; a report takes it a fraction of a second."""

WORKER_PREFIX = "worker-"


def stop_in_order(processes: Processes, broker: str, taken_in: Callable[[], bool]) -> None:
    """Stop all.

    Beat goes first, so that nothing is sent out again; then the workers, which hand back what they run; then whatever
    took their reports in, once `taken_in`; and last the broker that carried them, which keeps nothing.
    """
    _stop(processes, lambda name: name == "beat")
    if _stop(processes, lambda name: name.startswith(WORKER_PREFIX)):
        deadline = time.monotonic() + TAKE_IN_SECONDS
        while time.monotonic() < deadline and not taken_in():
            time.sleep(POLL_SECONDS)
    _stop(processes, lambda name: name != broker)
    processes.stop()


def nothing_runs(database_url: str) -> bool:
    """Whether no worker is said to run anything."""
    database = Database(database_url)
    try:
        with database.reading() as session:
            running = select(func.count()).where(Reproduction.state == ReproductionState.RUNNING)
            return not session.scalar(running)
    finally:
        database.engine.dispose()


def _stop(processes: Processes, wanted: Callable[[str], bool]) -> bool:
    names = [name for name in processes.pids if wanted(name)]
    if names:
        processes.stop(*names)
    return bool(names)
