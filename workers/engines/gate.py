"""Before an engine is started: is the device well, and the memory free that it will want?

An engine that somebody else left behind (vLLM's EngineCore outlives its API server, vllm issue 55510) holds a GPU while
nothing of ours runs on it. Every run that is sent there would fail, quickly, and so would eat the whole queue.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from specs.engines.model_size import WEIGHTS_OVERHEAD, room_on_a_machine
from specs.errors import EngineError
from specs.policy.engine import EngineRules
from workers.engines.devices import GIB, Device, Devices, Need, devices_for, sickness
from workers.errors import DeviceBusy, OutOfMemory
from workers.settings import WorkerSettings
from workers.shared_state import Quarantine, SharedState
from workers.snapshots.weights import weights_in_memory

_LOOK_SECONDS = 0.5
_LOOKS = 4
"""At memory of what just ended or fell asleep, before it counts as taken."""

_HEED_SECONDS = 30.0
"""A main process that is there heeds within one; on a machine that hardly moves it may take longer."""

_FAILED_STARTS = 3
"""In a row, of two models at least: then it is not the models. A GPU that its driver calls well may be of no use to
CUDA, and as such a worker is free again soonest, it would be sent everything that waits."""

_TRIED_AGAIN_SECONDS = 1200.0
"""After these, one start at a time. Longer than the alert about quarantined workers waits, or it would never come."""

_log = logging.getLogger(__name__)


class Gate:
    """Lets an engine start on a free device only, and none for a while where engines do not come up."""

    def __init__(
        self, settings: WorkerSettings, shared: SharedState, devices: Callable[[int | None], Devices] = devices_for
    ) -> None:
        self._settings = settings
        self._shared = shared
        self._devices = devices
        self._failed: Counter[str] = Counter()
        """Starts of each model's engines that failed, since one did not."""

    def note_start(self) -> None:
        """An engine is up, and so the device of use."""
        self._failed.clear()

    def note_failure(self, model_id: str, error: EngineError) -> None:
        """An engine did not start, and its model was not to blame.

        Raises:
            DeviceBusy: nor did others before, and none since. The worker takes nothing more for a while.
        """
        self._failed[model_id] += 1
        if self._failed.total() >= _FAILED_STARTS and len(self._failed) > 1:
            until = datetime.now(UTC) + timedelta(seconds=_TRIED_AGAIN_SECONDS)
            self._refuse(f"starts no engine, whichever the model; the last one: {error}", Need(), until)

    def wait_until_free(self, snapshot: Path, rules: EngineRules, gpus: int, on_wait: Callable[[], None]) -> None:
        """Return once the device is free for an engine; memory of one that just ended takes a moment to come back.

        Raises:
            DeviceBusy: it is not, for longer than the worker's patience, or it is ill. The worker takes nothing more
                until it is free and well; where a CPU worker's machine lacks memory for this model alone, it goes on.
            OutOfMemory: the machine of a CPU worker has not as much, however free it is.
        """
        found = self._shared.quarantined()
        if found is not None and found.is_early():
            # A batch that was taken before the worker stopped to take any.
            raise DeviceBusy(found.reason)
        need = self._need(snapshot, rules, gpus)
        devices = self._devices(gpus)
        if gpus == 0:
            _check_size(devices.look(), _held_on_a_machine(snapshot, rules))
        if (ill := sickness(devices.look())) is not None:
            # No patience: it does not get well by itself.
            self._refuse(f"is not well: {ill}", need)
        # Patience was had already, for the order before.
        patience = 0.0 if self._shared.quarantined() else self._settings.device_patience_seconds
        deadline = time.monotonic() + patience
        while (missing := need.missing(seen := devices.look())) is not None:
            on_wait()
            if time.monotonic() >= deadline:
                of_any = self._need_of_any(gpus)
                if of_any.missing(seen) is None:
                    # A smaller one may have room, and nothing says that so much is ever free here.
                    _refuse_model(seen, _held_on_a_machine(snapshot, rules), missing)
                self._refuse(f"is not free: {missing}", of_any)
            time.sleep(_LOOK_SECONDS)

    def _refuse(self, why: str, need: Need, until: datetime | None = None) -> NoReturn:
        _log.error("quarantined: its device %s", why)
        quarantine = Quarantine(
            reason=f"its device {why}", free_bytes=need.free_bytes, free_part=need.free_part, until=until
        )
        self._shared.quarantine(quarantine)
        # So that the next batch is not taken by a worker that can do nothing with it.
        self._shared.wait_until_heeded(_HEED_SECONDS)
        raise DeviceBusy(f"the device of this worker {why}")

    def is_free(self, snapshot: Path, rules: EngineRules, gpus: int) -> bool:
        """Whether it is, or is within moments; nothing comes of it if not."""
        need, devices = self._need(snapshot, rules, gpus), self._devices(gpus)
        for _ in range(_LOOKS):
            if need.missing(devices.look()) is None:
                return True
            time.sleep(_LOOK_SECONDS)
        return False

    def _need(self, snapshot: Path, rules: EngineRules, gpus: int) -> Need:
        of_any = self._need_of_any(gpus)
        if gpus > 0:
            return of_any
        return Need(free_bytes=max(of_any.free_bytes, _held_on_a_machine(snapshot, rules)))

    def _need_of_any(self, gpus: int) -> Need:
        """Whichever the model."""
        least = int(self._settings.minimum_free_gib * GIB)
        # A GPU is another's to that extent: its engine would say that it is out of memory, which it is not.
        return Need(free_bytes=least, free_part=self._settings.minimum_free_part if gpus > 0 else 0.0)


def _check_size(machine: Sequence[Device], needed_bytes: int) -> None:
    """An engine that is too large for a whole machine takes the worker down with it; waiting is of no use either."""
    for memory in machine:
        if needed_bytes > memory.total_bytes:
            raise OutOfMemory(
                f"the engine is reckoned to need {needed_bytes / GIB:.1f} GiB, and the machine of this worker has "
                f"{memory.total_bytes / GIB:.1f} GiB"
            )


def _refuse_model(machine: Sequence[Device], needed_bytes: int, missing: str) -> NoReturn:
    """One for which a machine has too little free memory, though enough for others."""
    if any(needed_bytes > room_on_a_machine(each.total_bytes) for each in machine):
        raise OutOfMemory(f"{missing}; a machine of that size is not reckoned to have as much free with no engine up")
    raise DeviceBusy(f"the device of this worker is not free: {missing}")


def _held_on_a_machine(snapshot: Path, rules: EngineRules) -> int:
    """Bytes that an engine is reckoned to need, as the control plane reckons (scheduler/admission/placement.py)."""
    return int(weights_in_memory(snapshot, rules.dtype) * WEIGHTS_OVERHEAD) + rules.kv_cache_gib * GIB
