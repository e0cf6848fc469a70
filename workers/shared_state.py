"""State that Celery's main process shares with the one that runs batches, as files.

The main process speaks for the worker and decides what it consumes, while its child is busy; the child alone knows its
engine, and whether its device is free. Files are whole or not there.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from specs.contract import Contract
from specs.messages import ModelRef
from specs.processes.atomic_write import write_atomically


class EngineNote(Contract):
    """An engine that is up, starts or sleeps."""

    model: ModelRef
    key: str
    """specs/engine_key.py."""

    started_at: datetime
    base_url: str
    guard_pid: int
    """Of the process that stands over it."""

    guard_start: int | None
    """Of that process: workers/processes/process_start.py."""

    mark: str
    """In the environment of all of its processes: workers/processes/orphans.py."""


class AsleepNote(Contract):
    """The engines that sleep, the one that was not used for longest first."""

    engines: tuple[EngineNote, ...]


class Quarantine(Contract):
    """Nothing is run until the device is free and well, and engines may be tried on it again."""

    reason: str
    """In a whole sentence."""

    since: datetime = Field(default_factory=lambda: datetime.now(UTC))
    free_bytes: int
    """Of each device: a `workers.engines.devices.Need`, like the next."""

    free_part: float
    until: datetime | None = None
    """Not before then, however free and well the device looks; None is as soon as it is."""

    def is_early(self) -> bool:
        """Whether it lasts, whatever the device looks like."""
        return self.until is not None and datetime.now(UTC) < self.until


N = TypeVar("N", AsleepNote, EngineNote, Quarantine)


class SharedState:
    """A folder with a note for each thing that is so."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._heeded = folder / "heeded"

    def note_engine(self, engine: EngineNote | None) -> None:
        """Which engine is up; None is none."""
        self._write("engine.json", engine)

    def engine(self) -> EngineNote | None:
        """As it was last noted; its processes may have ended since."""
        return self._read("engine.json", EngineNote)

    def note_starting(self, engine: EngineNote | None) -> None:
        """Which engine starts; None is none."""
        self._write("starting.json", engine)

    def starting(self) -> EngineNote | None:
        """As it was last noted; its processes may have ended since."""
        return self._read("starting.json", EngineNote)

    def note_asleep(self, engines: tuple[EngineNote, ...]) -> None:
        """Which engines sleep."""
        self._write("asleep.json", AsleepNote(engines=engines) if engines else None)

    def asleep(self) -> tuple[EngineNote, ...]:
        """As it was last noted; their processes may have ended since."""
        found = self._read("asleep.json", AsleepNote)
        return found.engines if found is not None else ()

    def quarantine(self, found: Quarantine | None) -> None:
        """Ask the main process to take no more work; None when the device is free and well."""
        if found is None:
            self._heeded.unlink(missing_ok=True)
        self._write("quarantine.json", found)

    def quarantined(self) -> Quarantine | None:
        """Whether the worker is to take nothing, and why."""
        return self._read("quarantine.json", Quarantine)

    def heed(self) -> None:
        """The main process has stopped to consume."""
        self._heeded.touch()

    def wait_until_heeded(self, seconds: float) -> None:
        """Wait so long at most for the main process to stop consuming."""
        deadline = time.monotonic() + seconds
        while not self._heeded.exists() and time.monotonic() <= deadline:
            time.sleep(0.1)

    def _write(self, name: str, note: Contract | None) -> None:
        file = self._folder / name
        if note is None:
            file.unlink(missing_ok=True)
            return
        write_atomically(file, note.model_dump_json())

    def _read(self, name: str, kind: type[N]) -> N | None:
        try:
            return kind.model_validate_json((self._folder / name).read_bytes())
        except (OSError, ValidationError):
            return None
