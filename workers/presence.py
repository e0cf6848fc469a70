"""A worker's word that it is there, whether it works or waits; and its withdrawal while its device is not free or well.

Runs as a thread of Celery's main process, so that it goes on while the child is busy, dead or being replaced. Each word
goes over a connection of its own: nothing that a broker's reset could leave behind is kept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from specs.messages import DeviceMemory, LoadedEngine, WorkerAlive, WorkerState
from specs.text import clean
from workers.board import Board, EngineNote, Quarantine
from workers.devices import Device, Devices, Need, sickness
from workers.orphans import end_marked

LOOK_SECONDS = 0.5
"""Between two looks whether the worker's state is another, which is said at once."""

DEVICE_LOOK_SECONDS = 2.0
"""Between two looks at a device that was not free or well."""

_METRICS_SECONDS = 2.0
_MAX_METRICS_BYTES = 4_000_000
_GENERATED = "vllm:generation_tokens"
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
    """Looks at the board and at the devices, says what is so, and has the worker consume or not."""

    def __init__(
        self,
        who: Self,
        board: Board,
        devices: Devices,
        send: Callable[[WorkerAlive], None],
        consumption: Consumption,
    ) -> None:
        self._who = who
        self._board = board
        self._devices = devices
        self._send = send
        self._consumption = consumption
        self._paused = False
        self._said: tuple[WorkerState, str] | None = None
        self._said_at = 0.0
        self._looked_at = 0.0
        self._tokens: tuple[str, float, float] | None = None
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
        due = time.monotonic() - self._said_at >= self._who.every_seconds
        if not due and (state, reason) == self._said:
            return
        message = WorkerAlive(
            worker=self._who.name,
            pool=self._who.pool,
            state=state,
            reason=reason,
            hardware=self._who.hardware,
            memory=tuple(map(_memory, self._devices.look())),
            engine=self._engine(),
            every_seconds=self._who.every_seconds,
        )
        # Said or not, the next try is when the next word is due.
        self._said, self._said_at = (state, reason), time.monotonic()
        try:
            self._send(message)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            _log.warning("the broker is away (%s); the next word follows in %.0f s", error, self._who.every_seconds)

    def _state(self) -> tuple[WorkerState, str]:
        quarantine = self._quarantine()
        if self.draining:
            return WorkerState.DRAINING, "was asked to stop"
        if quarantine is not None:
            return WorkerState.QUARANTINED, clean(quarantine.reason, 2000)
        return (WorkerState.BUSY, "") if self.busy() else (WorkerState.IDLE, "")

    def _quarantine(self) -> Quarantine | None:
        """What stands against taking work, looked at anew now and then."""
        found = self._board.quarantined()
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
            self._board.quarantine(found)
        elif found is not None and ill is None:
            need = Need(free_bytes=found.free_bytes, free_part=found.free_part)
            if need.missing(devices) is None:
                _log.warning("the device is free and well again; taking work")
                self._board.quarantine(None)
                return None
        return found

    def _end_orphans(self) -> None:
        """End what is left of an engine whose guard is gone, and with it all that could have ended it."""
        engine = self._board.engine()
        if engine is None or _is_there(engine.guard_pid):
            return
        self._board.note_engine(None)
        if (orphans := end_marked(engine.mark)) > 0:
            _log.warning("ended %d processes of an engine whose guard was gone", orphans)

    def _engine(self) -> LoadedEngine | None:
        engine = self._board.engine()
        if engine is None:
            return None
        return LoadedEngine(
            model=engine.model.model_id,
            revision=engine.model.revision,
            started_at=engine.started_at,
            tokens_per_second=self._tokens_per_second(engine),
        )

    def _tokens_per_second(self, engine: EngineNote) -> float | None:
        """Output since the word before."""
        generated, at = _generated_tokens(engine.base_url), time.monotonic()
        before, self._tokens = self._tokens, None if generated is None else (engine.mark, generated, at)
        if before is None or generated is None or before[0] != engine.mark:
            return None
        return max(generated - before[1], 0.0) / max(at - before[2], 1e-3)


def _generated_tokens(base_url: str) -> float | None:
    """The engine's counter of tokens that it has put out; None where it does not say."""
    url = f"{base_url.removesuffix('/v1')}/metrics"
    try:
        answer = httpx.get(url, timeout=_METRICS_SECONDS, trust_env=False)
        if not answer.is_success or len(answer.content) > _MAX_METRICS_BYTES:
            return None
        lines = [line for line in answer.text.splitlines() if line.startswith(_GENERATED)]
        families = text_string_to_metric_families("\n".join(lines) + "\n")
        values = [each.value for family in families for each in family.samples if each.name == f"{_GENERATED}_total"]
    except (httpx.HTTPError, ValueError):
        return None
    return sum(values) if values else None


def _is_there(pid: int) -> bool:
    """Whether a process runs. One that ended and that its parent has not asked after yet does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _memory(device: Device) -> DeviceMemory:
    return DeviceMemory(
        device=device.name, total_bytes=device.total_bytes, free_bytes=device.free_bytes, health=device.health
    )
