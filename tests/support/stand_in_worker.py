"""A worker as a real process, of pool cpu; only its engines are stand-ins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy.farm.control_plane import celery
from deploy.farm.processes import GRACE_SECONDS, Process
from tests.support.shared_runs import shared_runs
from workers.processes.guarded import clean_environment

PROJECT = Path(__file__).resolve().parents[2]
QUEUE = "pool.cpu"
NO_HUB = "http://127.0.0.1:9"
"""Nothing listens there."""


def worker_app(engine: tuple[str, ...], runs: Path | None = None) -> str:
    """The source of a Celery app that is the worker's, but for its engine's command and what runs are forked from.

    `runs` is the folder of a server; None is that of this test process.
    """
    folder = runs or shared_runs().folder
    return (
        "from pathlib import Path\n"
        "import workers.batches.workbench\n"
        "from tests.support.shared_runs import BorrowedRuns\n"
        f"workers.batches.workbench.open_workbench.__defaults__ = ({engine!r}, BorrowedRuns(Path({str(folder)!r})))\n"
        "from workers.app import app\n"
    )


def stand_in_worker(
    folder: Path,
    broker: str,
    app: str,
    settings: Mapping[str, str],
    *,
    name: str = "worker",
    grace_seconds: float = GRACE_SECONDS,
) -> Process:
    """A worker with a state folder of its own; the cache and the evidence store are those of all workers in `folder`.

    `app` is the source of its Celery app, `settings` are more of its environment, in the place of what is said here.
    """
    (folder / f"{name}_app.py").write_text(app)
    environment = {
        "PYTHONPATH": f"{PROJECT}:{folder}",
        "REPROFARM_WORKER_BROKER_URL": broker,
        "REPROFARM_WORKER_HUB_ENDPOINT": NO_HUB,
        "REPROFARM_WORKER_EVIDENCE_URL": f"file://{folder}/evidence",
        "REPROFARM_WORKER_CACHE_FOLDER": str(folder / "cache"),
        "REPROFARM_WORKER_STATE_FOLDER": str(folder / f"state-{name}"),
        "REPROFARM_WORKER_POOL": "cpu",
        **settings,
    }
    command = celery(f"{name}_app", "worker", "-Q", QUEUE, "--hostname", f"{name}@farm", "--loglevel", "INFO")
    return Process(name, command, clean_environment(**environment), grace_seconds)
