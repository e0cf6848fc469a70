"""A reproduction is cancelled on a farm of real processes; of the worker, only the engine is a stand-in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.state_machine import ClaimState
from tests.support.real_farm import RealFarm, real_farm
from tests.support.waiting import PROCESS_PATIENCE_SECONDS

pytest.importorskip("psutil", reason="workers need the extra `run`")

RARELY_HEARD = {"run": {"heartbeat_seconds": 600.0, "lease_seconds": 1800.0, "side_by_side": 1}}
"""A worker that is told to stop only when it says something next would be told too late for the tests' patience."""


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[RealFarm]:
    """A farm with one batch of two: one whose engine never answers, and behind it one that is quick."""
    asked = {"acme/hangs": "[hang]", "acme/quick": "Say: yes"}
    questions = {name: [f"{number} {question}" for number in range(5)] for name, question in asked.items()}
    with real_farm(tmp_path, RARELY_HEARD, questions) as found:
        found.start_worker()
        yield found


def reprofarm(farm: RealFarm, *arguments: str) -> None:
    command = [sys.executable, "-c", "from deploy.cli.main import main; main()", *arguments]
    subprocess.run(command, env=farm.control, check=True, cwd=farm.folder, timeout=PROCESS_PATIENCE_SECONDS)


def test_a_cancelled_run_frees_the_engine_for_the_next_of_its_batch_and_can_be_tried_again(farm: RealFarm) -> None:
    farm.wait(lambda: farm.stage("acme/hangs") == "running")
    first = farm.claim("acme/hangs").reproduction_id
    assert first is not None
    reprofarm(farm, "cancel", first, "--why", "it hangs")
    # The engine never answers the first, and no heartbeat is due: the second runs because the worker was told.
    farm.wait(lambda: farm.claim("acme/quick").state == ClaimState.DECIDED)
    assert farm.claim("acme/quick").reason.startswith("verified")
    held = farm.claim("acme/hangs")
    assert (held.state, "it hangs" in held.reason) == (ClaimState.BLOCKED, True)
    log = farm.folder / "logs" / "worker.log"
    assert f"dropped {first}, attempt 1" in log.read_text()
    assert log.read_text().count("engine for tiny/model up") == 1, "the same engine served both"

    reprofarm(farm, "retry", held.claim_id)
    # Not until a certain stage: with a warm engine they follow so closely that the last to be heard may be another.
    farm.wait(lambda: farm.stage("acme/hangs") is not None)
    again = farm.claim("acme/hangs").reproduction_id
    assert again not in (None, first)
    reprofarm(farm, "cancel", held.claim_id, "--why", "it still hangs")
    farm.wait(lambda: f"dropped {again}, attempt 1" in log.read_text())
