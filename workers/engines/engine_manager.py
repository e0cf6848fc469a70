"""vLLM as a child process: started for one model, reused while nothing about it changes, never left behind."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

from specs.engine_key import engine_key
from specs.errors import EngineError
from specs.messages import ModelRef
from specs.policy.engine import EngineRules
from workers.engines import compiled
from workers.engines.devices import Devices, devices_for
from workers.engines.engine import Engine, Wanted, can_sleep, engine_arguments
from workers.engines.engine_environment import own_variables, vllm_cache
from workers.engines.engine_faults import log_tail
from workers.engines.engine_logs import new_log
from workers.engines.engine_process import EngineSource
from workers.engines.gate import Gate
from workers.engines.kernels import Kernels
from workers.engines.local_http import local_http
from workers.engines.sleepers import Sleepers
from workers.errors import OutOfMemory
from workers.processes.ports import ENGINE_HOST, free_port
from workers.shared_state import SharedState
from workers.snapshots.references import check_references
from workers.snapshots.weights import check_weights, weights_in_memory

_LOOK_SECONDS = 0.1

_FOUND_NO_DEVICE = "Failed to infer device type"
"""What vLLM (0.32) says whose `current_platform`, which a process looks for once, is none."""

_log = logging.getLogger(__name__)


class EngineManager:
    """Keeps at most one engine up, warm for as long as the same one is wanted; others sleep, where policy lets them."""

    def __init__(
        self,
        folder: Path,
        source: EngineSource,
        gate: Gate,
        shared: SharedState,
        devices: Callable[[int | None], Devices] = devices_for,
        host: Devices | None = None,
    ) -> None:
        """Engine logs go to `folder`; engines come from `source`.

        `gate` lets an engine start, or not; `shared` says which one is up and which sleep. `devices` are asked
        what they can; engines sleep in the memory of the `host`.
        """
        self._folder = folder
        self._gate = gate
        self._shared = shared
        self._kernels = Kernels(devices)
        self._source = source
        self._engine: Engine | None = None
        self._sleepers = Sleepers(host, shared.note_asleep)
        self._log: Path | None = None
        """Of the engine that is up or starts, or of the last one."""
        self.api_key = secrets.token_urlsafe(32)
        """Of every engine that this manager starts."""

    def engine_for(
        self,
        model: ModelRef,
        snapshot: Path,
        rules: EngineRules,
        gpus: int,
        on_wait: Callable[[], None] = lambda: None,
    ) -> Engine:
        """The engine for a model under these rules: the warm one if it is the same, one that sleeps, else a new one.

        `on_wait` is called again and again while it starts; what it raises ends the start.

        Raises:
            ModelError: it would not start, by the model's fault.
            OutOfMemory: it would not start for want of memory.
            EngineError: it would not start otherwise, or the hardware lacks kernels that policy requires.
            DeviceBusy: somebody else holds the device's memory, or engines do not start on it.
        """
        batch_invariant = self._kernels.use_batch_invariant(rules, gpus)
        arguments, key = engine_arguments(model, rules, gpus), engine_key(model, rules, gpus)
        wanted = Wanted(model, arguments, rules.kv_cache_gib, gpus, batch_invariant, can_sleep(rules, gpus), key)
        if self._engine is not None and self._engine.wanted == wanted and self._engine.is_well():
            return self._use(self._engine, wanted)
        self._set_aside(wanted)
        woken = self._sleepers.wake(wanted)
        if woken is not None:
            _log.info("engine for %s is awake again", model.model_id)
            self._gate.note_start()
            return self._use(woken, wanted)
        check_references(snapshot, self._folder)
        check_weights(snapshot)
        # What sleeps keeps a context on the GPU. That is our own, and goes before anybody else is blamed.
        while len(self._sleepers) and not self._gate.is_free(snapshot, rules, gpus):
            self._sleepers.end_oldest()
        self._gate.wait_until_free(snapshot, rules, gpus, on_wait)
        try:
            engine = self._started(wanted, snapshot, rules, on_wait)
        except EngineError as error:
            if not isinstance(error, OutOfMemory):
                self._gate.note_failure(model.model_id, error)
            raise
        self._gate.note_start()
        return engine

    def _started(self, wanted: Wanted, snapshot: Path, rules: EngineRules, on_wait: Callable[[], None]) -> Engine:
        """A new engine, in use."""
        engine = self._start(wanted, snapshot, rules, on_wait)
        try:
            self._shared.note_starting(engine.note())
            _wait_until_up(engine, rules.start_seconds, on_wait)
            engine.context_tokens = _context_tokens(engine, self.api_key)
            self._use(engine, wanted)
        except BaseException as error:
            engine.stop()
            if _FOUND_NO_DEVICE in str(error):
                # A server keeps what it found when it was started, which may be before the driver came.
                self._source.stop()
            raise
        finally:
            self._shared.note_starting(None)
        return engine

    def begin(self) -> None:
        """Prepare for the first engine; returns at once."""
        self._source.begin()

    def _start(self, wanted: Wanted, snapshot: Path, rules: EngineRules, on_wait: Callable[[], None]) -> Engine:
        """An engine that is not up yet."""
        self._log = new_log(self._folder, self._sleepers.logs())
        # Before it runs: what fails after that would leave it behind.
        weights_bytes = weights_in_memory(snapshot, rules.dtype)
        compiled.make_room(vllm_cache(self._folder))
        port = free_port()
        place = ("--model", str(snapshot), "--host", ENGINE_HOST, "--port", str(port))
        variables = own_variables(
            self.api_key,
            wanted.gpus,
            kv_cache_gib=wanted.kv_cache_gib,
            batch_invariant=wanted.batch_invariant,
            sleeps=wanted.sleeps,
        )
        process = self._source.start([*place, *wanted.arguments], variables, self._log, rules.start_seconds, on_wait)
        return Engine(process, port, wanted, self._log, weights_bytes)

    def close(self) -> None:
        """End every engine, and what they are forked from."""
        self.stop()
        self._source.stop()

    def stop(self) -> None:
        """End every engine that there is."""
        self.discard()
        self._sleepers.stop()

    def discard(self) -> None:
        """End the engine that is up, if there is one."""
        if self._engine is not None:
            self._engine.stop()
            self._engine = None
            self._shared.note_engine(None)

    def _use(self, engine: Engine, wanted: Wanted) -> Engine:
        known = self._engine is engine and engine.wanted.key == wanted.key
        # The same engine under another key, where the rules differ in what changes no answer.
        self._engine, self._log, engine.wanted = engine, engine.log, wanted
        if not known:
            self._shared.note_engine(engine.note())
        return engine

    def _set_aside(self, wanted: Wanted) -> None:
        """Have the device free for the engine that is wanted."""
        engine = self._engine
        sleeps = engine is not None and engine.wanted.sleeps and engine.alive()
        if engine is None or not (sleeps and self._sleepers.put_to_sleep(engine, wanted)):
            self.discard()
            return
        self._engine = None
        self._shared.note_engine(None)

    def log_tail(self) -> str:
        """The last words of the engine that is up or starts, else of the last one; empty before the first."""
        return log_tail(self._log) if self._log is not None else ""


def _wait_until_up(engine: Engine, start_seconds: float, on_wait: Callable[[], None]) -> None:
    began = time.monotonic()
    while time.monotonic() - began < start_seconds:
        on_wait()
        if not engine.alive():
            raise engine.fault("the engine ended while it was starting")
        try:
            if local_http().get(engine.health_url, timeout=5).status_code == httpx2.codes.OK:
                _log.info("engine for %s up after %.0f s", engine.served_name, time.monotonic() - began)
                return
        except httpx2.TransportError:
            pass  # Nothing listens yet; the loop has its own deadline.
        time.sleep(_LOOK_SECONDS)
    raise EngineError(f"the engine was not up after {start_seconds:.0f} s", engine.log_tail())


def _context_tokens(engine: Engine, api_key: str) -> int | None:
    """Ask what is served, which also proves that it is our engine that got the port."""
    try:
        headers = {"Authorization": f"Bearer {api_key}"}
        answer = local_http().get(f"{engine.base_url}/models", headers=headers, timeout=30)
        served = {each["id"]: each.get("max_model_len") for each in answer.json()["data"]}
        length = served[engine.served_name]
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        raise EngineError("what answers on the engine's port does not serve this model", engine.log_tail()) from error
    return length if isinstance(length, int) else None
