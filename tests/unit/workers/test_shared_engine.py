from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from workers.batches.fetching import LOOK_SECONDS
from workers.batches.shared_engine import SharedEngine


def test_for_how_long_runs_on_a_suspect_engine_were_waited_for_is_told_and_not_of_the_time_to_fetch() -> None:
    def fetch(_model: Any) -> Path:
        # Longer than a look, so that the time to fetch is asked for.
        time.sleep(2 * LOOK_SECONDS)
        return Path("model")

    def nothing(*_: Any) -> None:
        pass

    snapshots = SimpleNamespace(model=lambda _model: Path("model"))
    engines = SimpleNamespace(engine_for=nothing, discard=nothing)
    batch = SimpleNamespace(model=None, engine=None, gpus=())
    shared = SharedEngine(cast("Any", batch), cast("Any", SimpleNamespace(snapshots=snapshots, engines=engines)))
    first = ExitStack()
    *_, others = first.enter_context(shared.used(nothing, nothing, nothing, time.monotonic() + 60))
    assert others < LOOK_SECONDS
    shared.suspect()
    snapshots.model = fetch
    ends, waits = time.monotonic() + 4 * LOOK_SECONDS, []

    def wait() -> None:
        waits.append(time.monotonic())
        if waits[-1] > ends:
            first.close()

    with shared.used(wait, nothing, nothing, ends) as (*_, others):
        assert others >= waits[-1] - waits[0] > 3 * LOOK_SECONDS
