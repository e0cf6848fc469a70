"""What a worker has at hand for every batch, for as long as its process lives."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from workers.batches.dropped_attempts import DroppedAttempts
from workers.batches.handing_back import StopMark
from workers.engines.devices import devices_for, sickness
from workers.engines.engine_manager import EngineManager
from workers.engines.engine_process import EngineCommand, EngineServer
from workers.engines.gate import Gate
from workers.processes.orphans import end_marked, remove_temporary
from workers.runs.forked_run import RunServer
from workers.settings import WorkerSettings
from workers.shared_state import SharedState
from workers.snapshots.fetch import Snapshots
from workers.state_folder import CHILD, held

_MIB = 2**20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workbench:
    """A worker's tools and places."""

    name: str
    """The worker's."""

    settings: WorkerSettings
    snapshots: Snapshots
    engines: EngineManager
    runs: RunServer
    dropped: DroppedAttempts
    stop_mark: StopMark
    lock: IO[bytes]
    """Held open for as long as the process lives."""

    def begin(self) -> None:
        """Have imported what engines and runs are forked from, before they are wanted."""
        # vLLM looks for its platform once, and engines are forked with what it found: none, before the driver came.
        if sickness(devices_for(self.settings.gpus).look()) is None:
            self.engines.begin()
        self.runs.begin()

    @property
    def max_cell_bytes(self) -> int:
        """Of one field of a sample."""
        return int(self.settings.max_cell_mib * _MIB)

    def run_folder(self) -> Path:
        """A new folder for one run, which nobody else reads."""
        return Path(tempfile.mkdtemp(prefix="run-", dir=self.settings.state_folder / "runs"))


def dropped_attempts_of(settings: WorkerSettings) -> DroppedAttempts:
    """The attempts that this worker was told to drop."""
    return DroppedAttempts(settings.state_folder / "dropped")


def stop_mark_of(settings: WorkerSettings) -> StopMark:
    """Where it is written that this worker was told to stop."""
    return StopMark(settings.state_folder / "stopping")


def shared_state_of(settings: WorkerSettings) -> SharedState:
    """Where this worker's processes tell one another what is so."""
    return SharedState(settings.state_folder / "board")


def open_workbench(
    name: str, settings: WorkerSettings, engine_command: Sequence[str] | None = None, runs: RunServer | None = None
) -> Workbench:
    """Set up a worker's places, and tidy what a predecessor that was killed left there.

    `engine_command` is what takes vLLM's arguments; None forks engines from a server of the worker's own. `runs` is
    what runs are forked from; None is another such server.

    Raises:
        PolicyError: another worker uses the same state folder.
    """
    state = settings.state_folder
    run_folders = state / "runs"
    run_folders.mkdir(parents=True, exist_ok=True)
    engine, server_of_engines, server_of_runs = (state / name for name in ("engine", "engine-server", "run-server"))
    lock = held(state, CHILD)
    for folder in (engine, server_of_engines, server_of_runs):
        if (orphans := end_marked(f"{folder}:")) > 0:
            _log.warning("ended %d processes that an earlier worker left behind", orphans)
        remove_temporary(folder)
    shared = shared_state_of(settings)
    shared.note_engine(None)
    shared.note_starting(None)
    shared.note_asleep(())
    for left in run_folders.iterdir():
        shutil.rmtree(left, ignore_errors=True)
    dropped = dropped_attempts_of(settings)
    dropped.tidy()
    return Workbench(
        name=name,
        settings=settings,
        snapshots=Snapshots.of(settings),
        engines=EngineManager(
            engine,
            EngineCommand(engine_command) if engine_command else EngineServer(server_of_engines, engine),
            Gate(settings, shared),
            shared,
        ),
        runs=runs or RunServer(server_of_runs, settings.cache_folder),
        dropped=dropped,
        stop_mark=stop_mark_of(settings),
        lock=lock,
    )
