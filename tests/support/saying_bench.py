"""A worker's bench whose engine says what it is told to say, and datasets of such questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from specs.messages import Order, Report
from specs.policy.engine import EngineRules
from tests.support.small_repos import SAY_SPEC, write_dataset, write_model
from tests.support.worker_bench import batch_of, bench, remember_snapshot, run, stand_in
from workers.batches.workbench import Workbench

SAY = {"question": "Say: yes", "answer": "yes"}


@pytest.fixture
def saying_bench(tmp_path: Path) -> Iterator[Workbench]:
    """For modules that say `workbench = saying_bench`; what its engine was asked stands in the file `asked`."""
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--record", str(tmp_path / "asked"))) as opened:
        yield opened


def say_dataset(workbench: Workbench, rows: list[Any], spec: Mapping[str, Any] = SAY_SPEC, name: str = "say") -> Path:
    """A dataset that the worker has fetched, bench/NAME; returns its snapshot."""
    cache = workbench.settings.cache_folder
    snapshot = write_dataset(cache.parent / name, rows, spec)
    remember_snapshot(cache, "dataset", f"bench/{name}", snapshot)
    return snapshot


def say_spec(**task: Any) -> dict[str, Any]:
    """The spec of these datasets, with something of its task otherwise."""
    return {**SAY_SPEC, "tasks": [{**SAY_SPEC["tasks"][0], **task}]}


def reports_of(workbench: Workbench, *orders: Order, engine: EngineRules | None = None) -> dict[str, Report]:
    """What the worker reports of a batch, by the reproduction."""
    return run(workbench, batch_of(*orders, engine=engine)).reports
