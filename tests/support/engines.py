"""Engines of a test that asks nothing of their gate and their board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workers.engines.devices import Devices, devices_for
from workers.engines.engine_manager import EngineManager
from workers.engines.engine_process import EngineSource
from workers.engines.gate import Gate
from workers.settings import WorkerSettings
from workers.shared_state import SharedState


def engines(
    folder: Path, source: EngineSource, devices: Callable[[int | None], Devices] = devices_for
) -> EngineManager:
    """What starts them as a worker does, with logs in `folder` and the board beside it.

    The devices' memory is looked at before each start.
    """
    shared = SharedState(folder.with_name("board"))
    return EngineManager(folder, source, Gate(WorkerSettings(), shared, devices), shared, devices)
