"""A worker whose clock is hours slow: it is heard, and what it reports counts.

What one says whose clock is fast is heard in any case: it expires hours too late.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from specs.messages import ATTEMPTS_ALIVE, CONTROL_QUEUE, REPORT, WORKER_ALIVE, AttemptOutcome
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, log_ends, until
from tests.support.worker_bench import batch_of
from tests.support.worker_farm import Farm, worker_farm
from tests.support.wrong_clock import wrong_clock

HOURS_SLOW = 5


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    """One worker; Redis, and who hears it, have the right time."""
    with worker_farm(tmp_path, **wrong_clock(tmp_path, -HOURS_SLOW * 3600)) as found:
        yield found


def test_no_word_of_a_worker_expires_before_it_is_heard(farm: Farm) -> None:
    farm.wait(lambda: farm.presence)
    said = datetime.fromtimestamp((farm.presence[-1].number or 0) / 1e6, UTC)
    assert (datetime.now(UTC) - said).total_seconds() > (HOURS_SLOW - 1) * 3600, "its clock is wrong"
    expired: dict[str, tuple[str, bool]] = {}

    def reported() -> bool:
        """Whether all is said; notes of each word whether Celery would drop it unread, when it is first seen."""
        with redis.Redis.from_url(farm.broker) as client:
            waiting = [json.loads(each)["headers"] for each in client.lrange(CONTROL_QUEUE, 0, -1)]
        for word in waiting:
            late = word["expires"] is not None and datetime.fromisoformat(word["expires"]) < datetime.now(UTC)
            expired.setdefault(word["id"], (word["task"], late))
        return any(word["task"] == REPORT for word in waiting)

    farm.send(batch_of(farm.order("r1", "Say: yes")))
    until(reported, lambda: log_ends(farm.processes), PROCESS_PATIENCE_SECONDS)
    farm.listen()
    assert farm.reports()["r1"].outcome is AttemptOutcome.COMPLETED, farm.reports()["r1"].detail
    assert set(expired.values()) == {(ATTEMPTS_ALIVE, False), (WORKER_ALIVE, False), (REPORT, False)}
