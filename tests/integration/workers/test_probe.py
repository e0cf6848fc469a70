"""A liveness probe tells a worker that does not consume from a broker that is away."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil

from deploy.farm.redis import NAME
from tests.support.waiting import until
from tests.support.worker_farm import worker_farm
from workers.presence.probe import answers


def test_a_worker_that_is_stuck_fails_and_one_whose_broker_is_away_does_not(tmp_path: Path) -> None:
    with worker_farm(tmp_path) as farm:
        worker = farm.wait(lambda: farm.presence and farm.presence[-1]).worker
        until(lambda: answers(farm.broker, worker))
        (main,) = psutil.Process(farm.processes.pids["worker"]).children()
        main.send_signal(signal.SIGSTOP)
        try:
            assert answers(farm.broker, worker, 3) is False
        finally:
            main.send_signal(signal.SIGCONT)
        # An answer that comes late is nobody else's.
        assert answers(farm.broker, "worker@elsewhere", 2) is False
        farm.processes.stop(NAME)
        assert answers(farm.broker, worker, 3) is None
