"""The order in which a farm is taken down."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.farm import stopping
from deploy.farm.processes import Process, Processes
from deploy.farm.stopping import nothing_runs, stop_in_order
from scheduler.state_machine import ReproductionState
from tests.support.rows import Rows
from tests.support.scheduler import migrated_database
from tests.support.waiting import PATIENCE_SECONDS, until
from workers.processes.guarded import clean_environment

SAYS_WHEN_IT_ENDS = 'trap "sleep 0.2; echo $0 >> ended; exit 0" TERM; echo $0 >> begun; while :; do sleep 0.05; done'


def test_workers_hand_back_before_anything_that_takes_it_in_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "TAKE_IN_SECONDS", PATIENCE_SECONDS)
    processes = Processes(tmp_path, tmp_path / "logs")
    names = ["redis", "api", "control", "beat", "worker-cpu", "worker-gpu"]
    for name in names:
        processes.start(Process(name, ["sh", "-c", SAYS_WHEN_IT_ENDS, name], clean_environment(), PATIENCE_SECONDS))
    begun = tmp_path / "begun"
    until(lambda: begun.exists() and len(begun.read_text().split()) == len(names))
    asked: list[list[str]] = []

    def taken_in() -> bool:
        asked.append((tmp_path / "ended").read_text().split())
        return len(asked) == 2

    stop_in_order(processes, "redis", taken_in)
    ended = (tmp_path / "ended").read_text().split()
    assert ended[0] == "beat"
    assert set(ended[1:3]) == {"worker-cpu", "worker-gpu"}
    assert [set(each) for each in asked] == [{"beat", "worker-cpu", "worker-gpu"}] * 2
    assert ended[-1] == "redis"
    assert sorted(ended) == sorted(names)


def test_what_a_worker_runs_is_waited_for_and_what_waits_in_the_queue_is_not(tmp_path: Path) -> None:
    database = migrated_database(tmp_path)
    url = f"sqlite:///{tmp_path / 'farm.db'}"
    rows = Rows(database)
    rows.reproduction(state=ReproductionState.QUEUED)
    assert nothing_runs(url)
    rows.reproduction(state=ReproductionState.RUNNING)
    assert not nothing_runs(url)
    database.engine.dispose()
