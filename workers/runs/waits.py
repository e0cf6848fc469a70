"""Whom a run waits for, told to its worker: what the engine generates is news of a run that waits for it alone.

Inspect holds one of a model's connections from when a request is sent until its answer is there, over all of its
retries (`Model._connection_concurrency` in inspect_ai/model/_model.py, 0.3.285).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inspect_ai.util import _concurrency as inspect_limits

from specs.processes.atomic_write import write_atomically
from workers.processes.background_thread import background_thread
from workers.runs.judges import is_judge
from workers.runs.run_request import WAITS_FILE, RunWaits

_LOOK_SECONDS = 0.5


@contextmanager
def telling_waits(folder: Path, model: str) -> Iterator[None]:
    """Keep the file in `folder` true for as long as the block lasts; `model` is Inspect's name of the evaluated one."""

    def watch(over: threading.Event) -> None:
        told = None
        while not over.wait(_LOOK_SECONDS):
            waits = _waits(model)
            if waits != told:
                write_atomically(folder / WAITS_FILE, waits.model_dump_json())
                told = waits

    with background_thread("waits", watch):
        yield


def _waits(model: str) -> RunWaits:
    # A copy, as the run's own thread adds to them.
    busy = [each.name for each in list(inspect_limits._concurrency_registry.values()) if each.in_use]
    return RunWaits(engine=model in busy, judges=any(map(is_judge, busy)))
