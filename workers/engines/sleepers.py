"""Engines that were put to sleep: their weights lie in the host's memory, and the GPU is another's meanwhile.

vLLM's sleep mode at level 1 (0.32, `vllm/entrypoints/serve/dev/sleep`): `POST /sleep?level=1` moves the weights out and
drops the KV cache, `POST /wake_up` brings them back, `GET /is_sleeping` says which it is. The routes are there with
`VLLM_SERVER_DEV_MODE=1` alone and ask for no key; the engine listens on this machine's own address only. A context on
the GPU stays, which is some hundred MiB to a few GiB.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import httpx2

from workers.engines.devices import GIB, Devices, Machine
from workers.engines.engine import Engine, Wanted
from workers.engines.local_http import local_http
from workers.shared_state import EngineNote

_SLEEP_SECONDS = 300.0
"""For copying hundreds of GiB from or to a GPU."""

_HELD_FOR_WEIGHTS = 2.0
"""Bytes of the host's memory for each byte of them, at most: vLLM copies each allocation into pinned memory
(`CuMemAllocator.sleep`), of which torch (2.13, ATen/core/CachingHostAllocator.h) takes the next power of two."""

_KEPT_FREE_PART = 0.1
_KEPT_FREE_BYTES = 4 * GIB
"""Of the host's memory, whichever is more: runs, datasets and the engine that is awake need it."""

_log = logging.getLogger(__name__)


class Sleepers:
    """Keeps engines asleep while the host has memory for them; the one that was not used for longest ends first."""

    def __init__(self, host: Devices | None, on_change: Callable[[tuple[EngineNote, ...]], None]) -> None:
        """`host` is where the weights lie, None this machine; `on_change` is told who sleeps."""
        self._host = host if host is not None else Machine()
        self._on_change = on_change
        self._engines: list[Engine] = []

    def __len__(self) -> int:
        return len(self._engines)

    def logs(self) -> list[Path]:
        """What those that sleep write to."""
        return [engine.log for engine in self._engines]

    def put_to_sleep(self, engine: Engine, sparing: Wanted | None = None) -> bool:
        """Whether it sleeps now. One that does not fit, or will not, is left to the caller as it is.

        `sparing` is about to be woken: to end that one for room would be a load for nothing.
        """
        self._forget_dead()
        # What it took when it slept before, torch keeps for it.
        asked = 0 if engine.has_slept else engine.weights_bytes
        while not self._has_room(asked):
            # Where even the end of all of them may not make room, none ends. Their weights are what it gives at least.
            all_of_them = sum(each.weights_bytes for each in self._engines if each.wanted != sparing)
            if not self._has_room(asked, given_up=all_of_them) or not self.end_oldest(sparing):
                _log.info("no room in the host's memory for %s to sleep", engine.served_name)
                return False
        if not _told(engine, "sleep?level=1", asleep=True):
            return False
        engine.has_slept = True
        self._engines.append(engine)
        self._changed()
        return True

    def wake(self, wanted: Wanted) -> Engine | None:
        """The engine that is the same as is wanted, awake; None where none sleeps that could be woken."""
        self._forget_dead()
        found = next((each for each in self._engines if each.wanted == wanted), None)
        if found is None:
            return None
        self._engines.remove(found)
        self._changed()
        if _told(found, "wake_up", asleep=False):
            return found
        found.stop()
        return None

    def end_oldest(self, sparing: Wanted | None = None) -> bool:
        """End the one that was not used for longest, of those that are not spared; whether there was one."""
        oldest = next((each for each in self._engines if each.wanted != sparing), None)
        if oldest is None:
            return False
        self._engines.remove(oldest)
        oldest.stop()
        self._changed()
        return True

    def stop(self) -> None:
        """End them all."""
        while self.end_oldest():
            pass

    def _has_room(self, weights_bytes: int, *, given_up: int = 0) -> bool:
        """Whether so much more fits, once the engines that sleep gave up so much."""
        for memory in self._host.look():
            return has_room(memory.total_bytes, memory.free_bytes + given_up, weights_bytes)
        return False

    def _forget_dead(self) -> None:
        for engine in [each for each in self._engines if not each.alive()]:
            engine.stop()
            self._engines.remove(engine)
            self._changed()

    def _changed(self) -> None:
        self._on_change(tuple(engine.note() for engine in self._engines))


def has_room(total_bytes: int, free_bytes: int, weights_bytes: int) -> bool:
    """Whether an engine with so many bytes of weights fits in the host's memory, as that is now."""
    kept = max(_KEPT_FREE_BYTES, int(_KEPT_FREE_PART * total_bytes))
    return free_bytes - kept >= int(_HELD_FOR_WEIGHTS * weights_bytes)


def _told(engine: Engine, what: str, *, asleep: bool) -> bool:
    """Have an engine sleep or wake; whether it says that it does."""
    root = engine.base_url.removesuffix("/v1")
    try:
        local_http().post(f"{root}/{what}", timeout=_SLEEP_SECONDS).raise_for_status()
        answer = local_http().get(f"{root}/is_sleeping", timeout=30).raise_for_status().json()
        done = isinstance(answer, dict) and answer.get("is_sleeping") is asleep
    except (httpx2.HTTPError, ValueError) as error:
        _log.warning("the engine for %s did not do %s: %s", engine.served_name, what, error)
        return False
    if not done:
        _log.warning("the engine for %s says otherwise after %s", engine.served_name, what)
    return done
