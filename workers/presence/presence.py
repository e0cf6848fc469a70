"""The heartbeat of a worker, whether it works or waits; it takes no work while its device is not free or well.

Runs as a thread of Celery's main process, so that it goes on while the child is busy, dead or being replaced. Each word
goes over a connection of its own: nothing that a broker's reset could leave behind is kept.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import psutil

from specs.messages import MAX_ASLEEP, DeviceMemory, LoadedEngine, WorkerAlive, WorkerState
from specs.text import clean
from workers.engines.devices import Device, Devices, Need, sickness
from workers.engines.engine_metrics import engine_figures
from workers.processes.orphans import end_marked
from workers.processes.process_start import process_start
from workers.shared_state import EngineNote, Quarantine, SharedState

LOOK_SECONDS = 0.5
"""Between two looks whether the worker's state is another, which is said at once."""

DEVICE_LOOK_SECONDS = 2.0
"""Between two looks at a device that was not free or well."""

_log = logging.getLogger(__name__)


class Consumption(Protocol):
    """What the worker takes from the broker."""

    def pause(self) -> None:
        """Take no more; what is taken goes on."""

    def resume(self) -> None:
        """Take again."""


@dataclass(frozen=True)
class Self:
    """What a worker says of itself that does not change."""

    name: str
    pool: str
    hardware: str
    every_seconds: float


class Presence:
    """Looks at the shared state and at the devices, says what is so, and has the worker consume or not."""

    def __init__(
        self,
        who: Self,
        shared: SharedState,
        devices: Devices,
        send: Callable[[WorkerAlive], None],
        consumption: Consumption,
    ) -> None:
        self._who = who
        self._shared = shared
        self._devices = devices
        self._send = send
        self._consumption = consumption
        self._paused = False
        self._said: tuple[WorkerState, str, str | None, tuple[str, ...]] | None = None
        self._said_at = 0.0
        self._looked_at = 0.0
        self._tokens: tuple[str, float, float] | None = None
        self._began = time.time_ns() - time.monotonic_ns()
        self.busy: Callable[[], bool] = lambda: False
        self.draining = False
        """The worker was asked to stop."""

    def run(self, stop: threading.Event) -> None:
        """Go on until `stop`."""
        while not stop.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:  # noqa: BLE001 - whatever a driver or a disk comes up with
                # A worker that works must not look dead.
                _log.exception("the worker could not look after itself")

    def look(self) -> None:
        """One look, and a word where the state is another or it is time for one."""
        self._end_orphans()
        state, reason = self._state()
        engine, asleep = self._shared.engine(), tuple(each.key for each in self._shared.asleep())
        news = (state, reason, engine.key if engine is not None else None, asleep)
        due = time.monotonic() - self._said_at >= self._who.every_seconds
        if not due and news == self._said:
            return
        message = WorkerAlive(
            worker=self._who.name,
            pool=self._who.pool,
            state=state,
            reason=reason,
            hardware=self._who.hardware,
            memory=tuple(map(_memory, self._devices.look())),
            engine=self._loaded(engine) if engine is not None else None,
            engine_key=engine.key if engine is not None else None,
            asleep=asleep[-MAX_ASLEEP:],
            every_seconds=self._who.every_seconds,
            number=self._number(),
        )
        # Said or not, the next try is when the next word is due.
        self._said, self._said_at = news, time.monotonic()
        try:
            self._send(message)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            _log.warning("the broker is away (%s); the next word follows in %.0f s", error, self._who.every_seconds)

    def _number(self) -> int:
        """Microseconds since 1970, by a clock that goes on from when this process began and is never set back."""
        return (self._began + time.monotonic_ns()) // 1000

    def _state(self) -> tuple[WorkerState, str]:
        quarantine = self._quarantine()
        if self.draining:
            return WorkerState.DRAINING, "was asked to stop"
        if quarantine is not None:
            return WorkerState.QUARANTINED, clean(quarantine.reason, 2000)
        return (WorkerState.BUSY, "") if self.busy() else (WorkerState.IDLE, "")

    def _quarantine(self) -> Quarantine | None:
        """What stands against taking work, looked at anew now and then."""
        found = self._shared.quarantined()
        patience = self._who.every_seconds if found is None else DEVICE_LOOK_SECONDS
        if time.monotonic() - self._looked_at >= patience:
            self._looked_at = time.monotonic()
            found = self._look_at_devices(found)
        if found is not None and not self._paused:
            self._paused = True
            self._consumption.pause()
        elif found is None and self._paused:
            self._paused = False
            self._consumption.resume()
        return found

    def _look_at_devices(self, found: Quarantine | None) -> Quarantine | None:
        """What the devices say against taking work, beside what is known."""
        devices = self._devices.look()
        ill = sickness(devices)
        if ill is not None and found is None:
            _log.error("quarantined: its device is not well: %s", ill)
            found = Quarantine(reason=f"its device is not well: {ill}", free_bytes=0, free_part=0.0)
            self._shared.quarantine(found)
        elif found is not None and ill is None:
            need = Need(free_bytes=found.free_bytes, free_part=found.free_part)
            if need.missing(devices) is None and not found.is_early():
                _log.warning("the device is free and well again; taking work")
                self._shared.quarantine(None)
                return None
        return found

    def _end_orphans(self) -> None:
        """End what is left of engines whose guard is gone, and with it all that could have ended them."""
        up, starting, asleep = self._shared.engine(), self._shared.starting(), self._shared.asleep()
        gone = [each for each in (up, starting, *asleep) if each is not None and not _is_there(each)]
        if not gone:
            return
        if up in gone:
            self._shared.note_engine(None)
        if starting in gone:
            self._shared.note_starting(None)
        if any(each in gone for each in asleep):
            self._shared.note_asleep(tuple(each for each in asleep if each not in gone))
        for engine in gone:
            if (orphans := end_marked(engine.mark)) > 0:
                _log.warning("ended %d processes of an engine whose guard was gone", orphans)

    def _loaded(self, engine: EngineNote) -> LoadedEngine:
        return LoadedEngine(
            model=engine.model.model_id,
            revision=engine.model.revision,
            started_at=engine.started_at,
            tokens_per_second=self._tokens_per_second(engine),
        )

    def _tokens_per_second(self, engine: EngineNote) -> float | None:
        """Output since the word before."""
        figures, at = engine_figures(engine.base_url), time.monotonic()
        generated = figures.generated if figures is not None else None
        before, self._tokens = self._tokens, None if generated is None else (engine.mark, generated, at)
        if before is None or generated is None or before[0] != engine.mark:
            return None
        return max(generated - before[1], 0.0) / max(at - before[2], 1e-3)


def _is_there(engine: EngineNote) -> bool:
    """Whether its guard runs."""
    if engine.guard_start is None:
        # It had ended when it was noted; elsewhere than on Linux nothing better is known.
        return sys.platform != "linux" and bool(psutil.pid_exists(engine.guard_pid))
    return process_start(engine.guard_pid) == engine.guard_start


def _memory(device: Device) -> DeviceMemory:
    return DeviceMemory(
        device=device.name, total_bytes=device.total_bytes, free_bytes=device.free_bytes, health=device.health
    )
