"""A run that is stopped half way is gone on with by the next attempt: no finished sample is asked again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scheduler.evidence import check_evidence
from specs.measurement import Evidence, Measurement
from specs.messages import AttemptRef, AttemptsAlive, Order, Report, Stage
from specs.policy import EngineRules
from tests.support.small_repos import task_ref, write_dataset, write_model
from tests.support.worker_bench import Heard, batch_of, bench, order, remember_snapshot, stand_in
from workers.batch import BatchRun
from workers.messenger import Messenger
from workers.workbench import Workbench

N, AT_ONCE = 40, 4
ROWS = [
    {"question": f"[slow] {number}? Say: {number}", "answer": str(number) if number % 3 else "no"}
    for number in range(1, N + 1)
]
RULES = EngineRules(start_seconds=120.0, concurrency=AT_ONCE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("resume")
    write_model(made / "model")
    write_dataset(made / "say", ROWS)
    return made


@contextmanager
def worker(folder: Path, name: str, *options: str) -> Iterator[Workbench]:
    """A worker with folders of its own, and the evidence store of all."""
    (model,) = (folder / "model" / "snapshots").iterdir()
    (folder / name).mkdir()
    asked = ("--slow-seconds", "0.15", "--record", str(folder / name / "asked"), *options)
    with bench(folder / name, model, stand_in(*asked), evidence_url=f"file://{folder}/evidence") as opened:
        remember_snapshot(opened.settings.cache_folder, "dataset", "bench/say", snapshot(folder))
        yield opened


def snapshot(folder: Path) -> Path:
    (found,) = (folder / "say" / "snapshots").iterdir()
    return found


def an_order(folder: Path, number: int, **more: Any) -> Order:
    made = order(task_ref(snapshot(folder)), **{"reproduction_id": "r1", **more})
    return made.model_copy(update={"ref": AttemptRef(reproduction_id=made.ref.reproduction_id, attempt=number)})


def work(workbench: Workbench, orders: Sequence[Order], stop_when: Callable[[AttemptsAlive], bool]) -> Heard:
    """Run a batch; the worker is told to stop upon the first heartbeat of that kind."""
    heard = Heard()

    def hear(message: AttemptsAlive | Report) -> None:
        heard.hear(message)
        if isinstance(message, AttemptsAlive) and stop_when(message):
            workbench.stop_mark.set()

    batch = batch_of(*orders, engine=RULES).model_copy(update={"heartbeat_seconds": 0.1})
    with Messenger(batch, workbench.name, "cpu", hear) as messenger:
        BatchRun(batch, workbench, messenger).run()
    return heard


def never(_: AttemptsAlive) -> bool:
    return False


def half_way(beat: AttemptsAlive, samples: int = 8) -> bool:
    return any(each.stage is Stage.RUNNING and each.samples_done >= samples for each in beat.progress)


def asked(folder: Path, name: str) -> Counter[tuple[str, int]]:
    """How often the engine of a worker was asked what, with which seed."""
    lines = (folder / name / "asked").read_text().splitlines()
    bodies = [json.loads(line) for line in lines]
    return Counter((body["messages"][-1]["content"], body["seed"]) for body in bodies)


def measured(report: Report) -> Measurement:
    assert report.measurement is not None, report.detail
    return report.measurement


def test_x(folder: Path) -> None:
    with worker(folder, "first") as first:
        handed_back = work(first, [an_order(folder, 1), an_order(folder, 1, reproduction_id="r2")], half_way).reports
    print(handed_back)
    partial = handed_back["r1"].partial
    assert partial is not None
    with worker(folder, "second") as second:
        report = work(
            second,
            [
                an_order(folder, 2).model_copy(
                    update={"resume": Evidence(sha256=partial.sha256, size_bytes=partial.size_bytes)}
                )
            ],
            never,
        ).reports["r1"]
    print(report)
    check_evidence(f"file://{folder}/evidence", report, None)
    with worker(folder, "third") as third:
        whole = work(third, [an_order(folder, 1)], never).reports["r1"]
    print(asked(folder, "first"), asked(folder, "second"))
    assert 0
