"""The chart's probes of a control worker and of beat tell one that is stuck from one whose broker is away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.farm.control_plane import beat
from deploy.farm.processes import Process, Processes
from deploy.farm.redis import NAME, start_redis
from tests.support.chart import environment_of, one, pod_of, rendered
from workers.processes.guarded import clean_environment


@pytest.mark.parametrize("name", ["control", "beat"])
def test_one_is_stuck_only_if_the_broker_answers_and_it_takes_or_sends_nothing(tmp_path: Path, name: str) -> None:
    deployment = one(rendered(), "Deployment", name)
    (container,) = pod_of(deployment)["containers"]
    shell, flag, command = container["livenessProbe"]["exec"]["command"]
    alive = tmp_path / "alive"
    command = command.replace(environment_of(deployment)["REPROFARM_LIVENESS_FILE"], str(alive))
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


def test_beat_sends_and_touches_its_file_without_room_on_the_disk_and_under_up_not_the_control_workers(
    tmp_path: Path,
) -> None:
    processes = Processes(tmp_path, tmp_path / "logs")
    alive = tmp_path / "alive"
    try:
        broker = start_redis(processes, tmp_path / "redis")
        environment = clean_environment(REPROFARM_BROKER_URL=broker, REPROFARM_LIVENESS_FILE=str(alive))
        of_up = beat(environment)
        assert "REPROFARM_LIVENESS_FILE" not in of_up.environment
        without_room = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *of_up.command]
        processes.start(Process("beat", without_room, environment))
        processes.wait_until("beat sends", alive.exists, 60)
        alive.unlink()
        processes.wait_until("beat goes on sending", alive.exists, 60)
    finally:
        processes.stop()
