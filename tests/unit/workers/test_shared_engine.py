from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from workers.batches.fetching import LOOK_SECONDS
from workers.batches.shared_engine import SharedEngine


def nothing(*_: Any) -> None:
    """Neither dropped nor told to stop."""


def test_for_how_long_runs_on_a_suspect_engine_were_waited_for_is_told_and_not_of_the_time_to_fetch() -> None:
    def fetch(_model: Any) -> Path:
        # Longer than a look, so that the time to fetch is asked for.
        time.sleep(2 * LOOK_SECONDS)
        return Path("model")

    snapshots = SimpleNamespace(model=lambda _model: Path("model"))
    engines = SimpleNamespace(engine_for=nothing, discard=nothing)
    batch = SimpleNamespace(model=None, engine=None, gpus=())
    shared = SharedEngine(cast("Any", batch), cast("Any", SimpleNamespace(snapshots=snapshots, engines=engines)))
    told = []

    def use(until: float) -> None:
        with shared.used(nothing, nothing, nothing, until) as (*_, others):
            told.append(others)

    with ExitStack() as first:
        *_, others = first.enter_context(shared.used(nothing, nothing, nothing, time.monotonic() + 60))
        assert others < LOOK_SECONDS
        shared.suspect()
        snapshots.model = fetch
        ends = time.monotonic() + 6 * LOOK_SECONDS
        # One has the turn and waits for the first, and the other waits for the turn.
        waiting = [threading.Thread(target=use, args=(ends,)) for _ in range(2)]
        for each in waiting:
            each.start()
        time.sleep(ends - time.monotonic())
    for each in waiting:
        each.join()
    assert len(told) == 2
    assert min(told) > 3 * LOOK_SECONDS
