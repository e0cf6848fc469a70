"""From `kill -9` of a worker to its work resumed, at the default settings: `python -m tests.chaos.default_settings`."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from deploy.bench.postgres import NO_SERVER, postgres_programs
from specs.messages import Stage
from specs.policy.run import RunRules
from tests.chaos.blows import Blow
from tests.chaos.farm import SLOW, ChaosFarm, chaos_farm
from tests.chaos.seen import look


def seconds_to_resume(farm: ChaosFarm) -> float:
    """From the kill of the worker in a run to the first word of the next attempt's worker."""
    place = farm.submit(SLOW)

    def attempt_runs(number: int) -> bool:
        seen = look(farm.database, place)
        return seen is not None and seen.attempt == number and seen.started_at is not None

    def samples_are_done() -> bool:
        seen = look(farm.database, place)
        return seen is not None and seen.stage == Stage.RUNNING

    farm.wait("it runs", samples_are_done)
    began = time.monotonic()
    Blow("worker").strike(farm)
    farm.wait("it runs again", lambda: attempt_runs(2))
    return time.monotonic() - began


def main() -> None:
    """Measure once and print it."""
    programs = postgres_programs()
    if programs is None:
        sys.exit(NO_SERVER)
    rules = RunRules()
    folder = Path(tempfile.mkdtemp(prefix="reprofarm-chaos-"))
    run = {"heartbeat_seconds": rules.heartbeat_seconds, "lease_seconds": rules.lease_seconds}
    with chaos_farm(folder, programs, run) as farm:
        seconds = seconds_to_resume(farm)
    shutil.rmtree(folder, ignore_errors=True)
    lease = f"a lease of {rules.lease_seconds:.0f} s, a heartbeat each {rules.heartbeat_seconds:.0f} s"
    sys.stdout.write(f"{lease}: work was resumed {seconds:.1f} s after kill -9 of its worker\n")


if __name__ == "__main__":
    main()
