"""The chart's probe of a control worker tells one that is stuck from one that has nothing to take."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from deploy.farm.processes import Processes
from deploy.farm.redis import NAME, start_redis
from tests.support.chart import environment_of, one, pod_of, rendered
from workers.processes.guarded import clean_environment


def test_a_control_worker_is_stuck_only_if_the_broker_answers_and_it_takes_nothing(tmp_path: Path) -> None:
    control = one(rendered(), "Deployment", "control")
    (container,) = pod_of(control)["containers"]
    shell, flag, command = container["livenessProbe"]["exec"]["command"]
    alive = tmp_path / "alive"
    command = command.replace(environment_of(control)["REPROFARM_LIVENESS_FILE"], str(alive))
    processes = Processes(tmp_path, tmp_path / "logs")
    try:
        broker = start_redis(processes, tmp_path / "redis")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = clean_environment(REPROFARM_BROKER_URL=broker, PATH=path)

        def passes() -> bool:
            done = subprocess.run([shell, flag, command], env=environment, check=False, timeout=120)
            return done.returncode == 0

        alive.touch()
        assert passes()
        minutes_ago = time.time() - 600
        os.utime(alive, (minutes_ago, minutes_ago))
        assert not passes()
        processes.stop(NAME)
        assert passes()
    finally:
        processes.stop()
