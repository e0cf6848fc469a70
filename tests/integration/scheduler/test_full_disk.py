"""The disk of a SQLite farm without room: nothing is half written, and what came meanwhile counts once there is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from scheduler.collect import heartbeats
from scheduler.database.postgres import AWAY
from scheduler.database.tables import VerdictRow
from scheduler.state_machine import ReproductionState
from specs.messages import AttemptsAlive, Progress, Stage
from tests.support.databases import SQLITE, Databases
from tests.support.disks import small_disk
from tests.support.reported_farm import (
    INFLATED_PERCENT,
    TRUE_PERCENT,
    World,
    count,
    farm_of,
    outcomes,
    reproduction,
    take,
)
from tests.support.sent_batches import batch_of


def _fill(file: Path) -> None:
    """Leave no room on a file's disk."""
    with suppress(OSError), file.open("wb", buffering=0) as content:
        while content.write(bytes(4096)):
            pass


def test_a_report_that_finds_no_room_in_the_database_is_taken_in_once_there_is(
    worlds: Callable[[Databases], World], tmp_path: Path
) -> None:
    world = worlds(SQLITE)
    with small_disk(tmp_path / "disk", 16 * 1024, 16 * 1024) as disk, farm_of(world, SQLITE, disk) as farm:
        assert reproduction(farm).state == ReproductionState.DISPATCHED, "connected, as every process of a farm is"
        word = AttemptsAlive(
            worker=world.report.worker,
            pool="cpu",
            batch_id=batch_of(farm.database, world.report.ref),
            progress=(Progress(ref=world.report.ref, stage=Stage.STORING),),
        )
        _fill(disk / "filler")
        for _ in range(2):
            # A control worker tries a report again upon such an error, and a worker says the next word by itself.
            with pytest.raises(OperationalError, match=r"disk is full|disk I/O error") as full:
                take(farm, world.report)
            assert isinstance(full.value, AWAY)
            with pytest.raises(AWAY):
                heartbeats.alive(farm.database, farm.policy, word)
        assert outcomes(farm) == {}, "what is there can be read"
        assert reproduction(farm).state == ReproductionState.DISPATCHED
        (disk / "filler").unlink()
        assert heartbeats.alive(farm.database, farm.policy, word) == []
        take(farm, world.report)
        assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}
        assert count(farm, VerdictRow) == 2
