"""A farm is scaled down and up again: real processes, of which only the engines are stand-ins."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from sqlalchemy import select

from scheduler.database.tables import Claim, Event, Reproduction, Worker
from scheduler.state_machine import ClaimState, ReproductionState
from specs.queues import own_queue
from tests.support.real_farm import RealFarm, real_farm

pytest.importorskip("psutil", reason="workers need the extra `run`")

POLICY = {"run": {"heartbeat_seconds": 1.0, "lease_seconds": 600.0, "batch": 1, "side_by_side": 1}}
"""One reproduction a batch, so that some run, some wait for their worker, and some for any."""

BENCHMARKS = {f"acme/bench{n}": [f"{each} [slow] Say: yes" for each in range(5)] for n in range(5)}


def sent_to(farm: RealFarm, worker: str) -> list[str]:
    """What waits in a worker's own queue."""
    with farm.database.reading() as session:
        waits = Reproduction.state == ReproductionState.DISPATCHED, Reproduction.sent_to == worker
        return list(session.scalars(select(Reproduction.reproduction_id).where(*waits)))


def in_redis(farm: RealFarm, queue: str) -> int:
    with redis.Redis.from_url(farm.broker) as client:
        length = client.llen(queue)
        assert isinstance(length, int)
        return length


def why(farm: RealFarm, reproduction_id: str) -> list[str]:
    with farm.database.reading() as session:
        return list(session.scalars(select(Event.why).where(Event.subject_id == reproduction_id)))


def states(farm: RealFarm) -> set[str]:
    with farm.database.reading() as session:
        return {f"{claim.state}: {claim.reason}".partition(":")[0] for claim in session.scalars(select(Claim))}


def test_what_waited_for_a_worker_that_is_drained_is_run_by_another_and_nothing_is_lost(tmp_path: Path) -> None:
    with real_farm(tmp_path, POLICY, BENCHMARKS) as farm:
        farm.start_worker("first", slow_seconds=3600)
        # In this order: one that is begun in between is in nobody's queue any more.
        farm.wait(lambda: any(map(farm.stage, BENCHMARKS)) and sent_to(farm, "first@farm"))
        (waited,) = sent_to(farm, "first@farm")
        own = own_queue("cpu", "first@farm")
        farm.wait(lambda: in_redis(farm, own) == 1)
        farm.processes.stop("first")
        farm.wait(lambda: not sent_to(farm, "first@farm"))
        assert "worker first@farm, for which it waited, takes nothing more" in why(farm, waited)
        assert in_redis(farm, own) == 0
        farm.start_worker("second", slow_seconds=0)
        farm.wait(lambda: states(farm) == {ClaimState.DECIDED})
        with farm.database.reading() as session:
            runs = list(session.scalars(select(Reproduction)))
            workers = session.scalars(select(Worker.name).where(Worker.state != "draining")).all()
        assert {run.state for run in runs} == {ReproductionState.COMPLETED}
        assert {run.failures for run in runs} == {0}
        assert all(farm.claim(name).reason.startswith("verified") for name in BENCHMARKS)
        assert list(workers) == ["second@farm"]
