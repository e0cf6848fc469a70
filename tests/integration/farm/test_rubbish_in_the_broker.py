"""A real control worker on a real Redis in which somebody with its password puts what is no message."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from deploy.farm.control_plane import control_worker
from deploy.farm.environments import Plan
from deploy.farm.processes import Processes
from deploy.farm.redis import start_redis
from scheduler.badges.signing import Signer
from scheduler.database.session import Database
from scheduler.database.tables import Refused, Worker
from scheduler.schedule import REAP
from specs.messages import CONTROL_QUEUE, WORKER_ALIVE, WorkerAlive, WorkerState
from specs.processes.careful_transport import KEPT
from specs.queues import REFUSED, REFUSED_COUNT
from tests.support.localhub import running_hub
from tests.support.rotten_messages import HARMLESS, envelope, rotten
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, until
from workers.processes.ports import free_port


def word(worker: str) -> dict[str, object]:
    return WorkerAlive(
        worker=worker,
        pool="cpu",
        state=WorkerState.IDLE,
        reason="",
        hardware="",
        memory=(),
        engine=None,
        every_seconds=60,
    ).encode()


ROTTEN = rotten(WORKER_ALIVE, CONTROL_QUEUE, word("rotten"))


@dataclass
class Control:
    """A control worker, seen from the broker and from its database."""

    folder: Path
    environment: dict[str, str]
    database: Database
    redis: redis.Redis
    processes: Processes

    def start(self) -> None:
        self.processes.start(control_worker(self.environment))

    def say(self, worker: str) -> None:
        """Send what is a message."""
        self.redis.lpush(CONTROL_QUEUE, json.dumps(envelope(WORKER_ALIVE, word(worker), message_id=worker)))

    def heard(self, worker: str) -> bool:
        with self.database.reading() as session:
            return session.get(Worker, worker) is not None

    def refused(self) -> int:
        with self.database.reading() as session:
            return session.get_one(Refused, "control").number

    def wait(self, is_so: Callable[[], object]) -> None:
        """Wait as long as the process lives."""

        def alive_and_so() -> bool:
            self.processes.check()
            return bool(is_so())

        until(alive_and_so, self.log, PROCESS_PATIENCE_SECONDS)

    def log(self) -> str:
        return (self.folder / "logs" / "control.log").read_text()


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    folder = tmp_path_factory.mktemp("farm")
    processes = Processes(folder, folder / "logs")
    try:
        broker = start_redis(processes, folder / "redis")
        database = Database(f"sqlite:///{folder / 'reprofarm.db'}")
        database.upgrade()
        Signer.create(folder / "keys" / "signing.pem")
        with running_hub(folder / "hub") as hub, redis.Redis.from_url(broker) as client:
            environment = Plan(folder, free_port(), hub.url).environment_of_control(broker)
            found = Control(folder, environment, database, client, processes)
            found.start()
            yield found
        database.engine.dispose()
    finally:
        processes.stop()


def test_rubbish_is_refused_and_what_stands_between_it_is_done(control: Control) -> None:
    names = sorted(ROTTEN)
    for name in names:
        control.redis.lpush(CONTROL_QUEUE, ROTTEN[name])
        if name == names[len(names) // 2]:
            control.say("between")
    control.say("after")
    control.wait(lambda: control.heard("between") and control.heard("after"))
    assert control.redis.llen(REFUSED) == KEPT
    control.redis.lpush(CONTROL_QUEUE, json.dumps(envelope(REAP)))
    control.wait(lambda: control.refused() == len(ROTTEN.keys() - HARMLESS))
    assert "refused what was taken from control (5 bytes: hello): no message of Celery's" in control.log()
    assert control.redis.hlen("unacked") == control.redis.zcard("unacked_index") == 0, "all are done with"
    assert control.redis.exists("forged") == 0, "nothing was sent on"


@pytest.mark.parametrize(
    "key",
    [CONTROL_QUEUE, f"{CONTROL_QUEUE}\x06\x163", "unacked", "unacked_index", REFUSED, REFUSED_COUNT],
)
def test_a_key_of_another_type_gives_way(control: Control, key: str) -> None:
    control.redis.delete(key)
    control.redis.set(key, "x")
    if key == CONTROL_QUEUE:
        # Nothing can be sent there meanwhile.
        control.wait(lambda: control.redis.type(key) == b"none")
    control.redis.lpush(CONTROL_QUEUE, b"rubbish")
    control.say(f"beside {key!a}")
    control.wait(lambda: control.heard(f"beside {key!a}"))
    control.wait(lambda: control.redis.get(f"{REFUSED}.{key}") == b"x")


def test_one_that_is_stopped_leaves_what_is_a_message_to_the_next_which_takes_no_rubbish(control: Control) -> None:
    control.say("before")
    control.wait(lambda: control.heard("before"))
    (main,) = psutil.Process(control.processes.pids["control"]).children()
    main.suspend()
    late = [f"late-{number}" for number in range(20)]
    for worker in late:
        control.redis.lpush(CONTROL_QUEUE, b"rubbish")
        control.say(worker)
    main.send_signal(signal.SIGTERM)
    main.resume()
    main.wait(PROCESS_PATIENCE_SECONDS)
    control.processes.stop("control")
    taken = envelope(WORKER_ALIVE, word("taken long ago"))
    unacked: dict[Any, Any] = {
        "one": json.dumps([taken, "", CONTROL_QUEUE]),
        "not JSON": "hello",
        "deep": "[" * 100_000,
        "of two": "[1, 2]",
        "of other types": "[7, 7, 7]",
        "of no message": json.dumps([{"headers": {}, "properties": {}}, "", CONTROL_QUEUE]),
        "for others": json.dumps([taken, "celery.pidbox", CONTROL_QUEUE]),
    }
    control.redis.hset("unacked", mapping=unacked)
    control.redis.zadd("unacked_index", dict.fromkeys(unacked, 1.0))
    control.redis.set("unacked_mutex", "for ever")
    # The process cannot even begin with these.
    control.redis.delete("_kombu.binding.control", "_kombu.binding_permanent.control")
    control.redis.mset({"_kombu.binding.control": "x", "_kombu.binding_permanent.control": "x"})
    control.start()
    control.wait(lambda: all(control.heard(worker) for worker in [*late, "taken long ago"]))
    control.wait(lambda: control.redis.hlen("unacked") == control.redis.zcard("unacked_index") == 0)
