"""A worker that runs, in this process, what a farm sent out last; only its engine is a stand-in."""

from __future__ import annotations

from pathlib import Path

from scheduler.database.session import Database
from specs.messages import Report
from tests.support.sent_batches import sent_batches
from tests.support.shared_runs import shared_runs
from tests.support.worker_bench import run, stand_in
from workers.batches.workbench import open_workbench
from workers.settings import WorkerSettings


def worked(database: Database, folder: Path, hub_url: str) -> Report:
    """The report on the only order of the last batch; the evidence, and what the worker keeps, are in `folder`."""
    settings = WorkerSettings(
        pool="cpu",
        hub_endpoint=hub_url,
        evidence_url=f"file://{folder / 'evidence'}",
        cache_folder=folder / "cache",
        state_folder=folder / "state",
    )
    bench = open_workbench("worker@test", settings, stand_in(), shared_runs())
    try:
        (report,) = run(bench, sent_batches(database)[-1]).reports.values()
    finally:
        bench.engines.stop()
        bench.lock.close()
    return report
