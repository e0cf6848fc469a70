"""Queues of single workers, as they lie in a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from redis import Redis

from deploy.farm.processes import Processes
from deploy.farm.redis import start_redis
from scheduler.messaging.broker import forget_queues, own_queues, queued_ids, send, withdraw
from specs.queues import own_queue, pool_queue

MINE, OTHER, POOL = own_queue("cpu", "mine"), own_queue("cpu", "other"), pool_queue("cpu")


@pytest.fixture
def celery(tmp_path: Path) -> Iterator[Celery]:
    """Of a farm that has sent two batches to a worker, one to another and one to the pool."""
    processes = Processes(tmp_path, tmp_path / "logs")
    try:
        with Celery(broker=start_redis(processes, tmp_path / "redis")) as found:
            for message_id, queue in (("a", MINE), ("b", MINE), ("c", OTHER), ("d", POOL)):
                send(found, task="t", queue=queue, message_id=message_id, body={})
            yield found
    finally:
        processes.stop()


def test_a_message_is_withdrawn_once_and_the_others_stay(celery: Celery) -> None:
    assert withdraw(celery, MINE, "a")
    assert not withdraw(celery, MINE, "a")
    assert not withdraw(celery, MINE, "c"), "it is in another queue"
    assert (queued_ids(celery, MINE), queued_ids(celery, OTHER)) == ({"b"}, {"c"})


def test_nothing_is_left_of_a_queue_that_is_forgotten(celery: Celery) -> None:
    assert own_queues(celery) == {MINE, OTHER}
    forget_queues(celery, {MINE})
    assert own_queues(celery) == {OTHER}
    with Redis.from_url(celery.conf.broker_url) as redis:
        assert list(redis.scan_iter(f"*{MINE}*")) == []
    assert queued_ids(celery, POOL) == {"d"}
