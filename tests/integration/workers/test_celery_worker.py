"""A real worker process on a real Redis: batches in, heartbeats and reports out, attempts dropped on the way.

Its liveness probe tells it from a broker that is away.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from celery import Celery
from celery.signals import worker_init

import workers.app  # noqa: F401 - connects what ends a worker
from deploy.farm.redis import NAME
from specs.messages import RUN_BATCH, AttemptOutcome
from specs.processes.broker import celery_settings
from specs.queues import REFUSED_COUNT, own_queue
from tests.support.rotten_messages import HARMLESS, rotten, rotten_commands, wrong_commands
from tests.support.stand_in_worker import QUEUE, stand_in_worker, worker_app
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, until
from tests.support.worker_bench import batch_of, stand_in
from tests.support.worker_farm import Farm, worker_farm
from workers.presence.probe import answers
from workers.settings import WorkerSettings
from workers.state_folder import CHILD, held


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """One worker for all; each test has reproductions of its own."""
    with worker_farm(tmp_path_factory.mktemp("farm")) as found:
        yield found


def test_a_worker_prepares_before_it_is_sent_anything(farm: Farm) -> None:
    # What is opened first of all that batches need.
    until((farm.folder / "state-worker" / "runs").exists, patience_seconds=PROCESS_PATIENCE_SECONDS)
    farm.listen()
    assert not farm.beats, "this is the first of these tests, before all that send something"


def test_a_dropped_attempt_stops_and_the_rest_of_its_batch_goes_on(farm: Farm) -> None:
    farm.send(batch_of(farm.order("hanging-1", "[hang]"), farm.order("good-1", "Say: yes")))
    farm.wait(lambda: farm.running("hanging-1"))
    farm.drop("hanging-1")
    good = farm.wait(lambda: farm.reports().get("good-1"))
    assert good.outcome is AttemptOutcome.COMPLETED, good.detail
    assert good.measurement.score == 1.0
    assert "hanging-1" not in farm.reports()
    assert (farm.folder / "logs" / "worker.log").read_text().count("dropped hanging-1, attempt 1") == 1


def test_a_batch_whose_process_is_told_to_end_leaves_no_engine_and_the_worker_goes_on(farm: Farm) -> None:
    farm.send(batch_of(farm.order("hanging-2", "[hang]")))
    farm.wait(lambda: farm.running("hanging-2"))
    engines = farm.engines()
    assert engines
    _child(farm).send_signal(signal.SIGTERM)
    assert psutil.wait_procs(engines, timeout=300)[1] == []
    farm.send(batch_of(farm.order("good-2", "Say: yes")))
    assert farm.wait(lambda: farm.reports().get("good-2")).outcome is AttemptOutcome.COMPLETED
    assert "hanging-2" not in farm.reports()


def test_rubbish_in_its_queues_and_commands_of_others_leave_a_worker_as_it_is(farm: Farm) -> None:
    own = farm.own_queue()
    messages = rotten(RUN_BATCH, QUEUE, {"version": 99})
    (main,) = psutil.Process(farm.processes.pids["worker"]).children()
    with redis.Redis.from_url(farm.broker) as client:
        refused = len(messages.keys() - HARMLESS) + len(rotten_commands())
        for raw in (*rotten_commands().values(), *wrong_commands().values()):
            assert client.publish("/0.celery.pidbox", raw) == 1
        for each in messages.values():
            client.lpush(QUEUE, each)
        client.lpush(own, b"rubbish", b"{}")
        farm.send(batch_of(farm.order("good-6", "Say: yes")), own)
        farm.send(batch_of(farm.order("good-7", "Say: yes")))
        for name in ("good-6", "good-7"):
            assert farm.wait(lambda: farm.reports().get(name)).outcome is AttemptOutcome.COMPLETED  # noqa: B023
        counts = {queue: int(number) for queue, number in client.hgetall(REFUSED_COUNT).items()}
    assert main.is_running()
    assert sum(counts.values()) == refused + 2
    with Celery("asks") as asking:
        asking.conf.update(celery_settings(farm.broker))
        # As the chart's probe does.
        assert asking.control.ping(timeout=PROCESS_PATIENCE_SECONDS, limit=1) == [{"worker@farm": {"ok": "pong"}}]


def test_a_broker_that_comes_back_gets_the_report(farm: Farm) -> None:
    stored = farm.evidence()
    farm.send(batch_of(farm.order("good-4", "Say: yes")))
    farm.wait(lambda: farm.mentioned("good-4"))
    redis_guard = psutil.Process(farm.processes.pids["redis"])
    (server,) = redis_guard.children()
    server.suspend()
    until(lambda: farm.evidence() != stored, patience_seconds=PROCESS_PATIENCE_SECONDS)
    server.resume()
    assert farm.wait(lambda: farm.reports().get("good-4")).outcome is AttemptOutcome.COMPLETED


def test_a_worker_turns_to_its_own_queue_before_its_pools(farm: Farm) -> None:
    own = farm.own_queue()
    farm.send(batch_of(farm.order("hanging-5", "[hang]")))
    farm.wait(lambda: farm.running("hanging-5"))
    farm.send(batch_of(farm.order("pools", "Say: yes")))
    farm.send(batch_of(farm.order("own", "Say: yes")), own)
    assert (farm.waiting(), farm.waiting(own)) == (1, 1), "nothing is taken before its turn"
    farm.drop("hanging-5")
    farm.wait(lambda: farm.reports().get("pools"))
    assert [each for each in farm.reports() if each in ("own", "pools")] == ["own", "pools"]


def test_a_message_of_another_version_is_refused_and_the_worker_goes_on(farm: Farm) -> None:
    batch = batch_of(farm.order("good-5", "Say: yes"))
    farm.celery.send_task(RUN_BATCH, args=[{**batch.encode(), "version": 99}], queue="pool.cpu")
    farm.send(batch)
    assert farm.wait(lambda: farm.reports().get("good-5")).outcome is AttemptOutcome.COMPLETED
    assert "of version 99; this farm speaks 1" in (farm.folder / "logs" / "worker.log").read_text()


def test_a_worker_that_is_killed_leaves_no_engine(farm: Farm) -> None:
    farm.send(batch_of(farm.order("hanging-3", "[hang]")))
    farm.wait(lambda: farm.running("hanging-3"))
    engines = farm.engines()
    _child(farm).kill()
    assert psutil.wait_procs(engines, timeout=300)[1] == []


def test_a_second_worker_on_its_state_folder_takes_nothing_and_ends(farm: Farm) -> None:
    state = {"REPROFARM_WORKER_STATE_FOLDER": str(farm.folder / "state-worker")}
    second = stand_in_worker(farm.folder, farm.broker, worker_app(stand_in()), state, name="second")
    ended = subprocess.run(
        second.command, env=second.environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert ended.returncode == 1
    assert "another worker uses" in ended.stderr
    farm.send(batch_of(farm.order("kept-1", "Say: yes")))
    assert farm.wait(lambda: farm.reports().get("kept-1")).outcome is AttemptOutcome.COMPLETED


def test_a_worker_whose_state_folder_cannot_be_used_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a-file").touch()
    settings = WorkerSettings(state_folder=tmp_path / "a-file")
    monkeypatch.setattr("workers.app.worker_settings", lambda: settings)
    monkeypatch.setattr("workers.app._names", [])
    # As Celery says before a worker takes anything; what a process ends by that passes.
    with pytest.raises(SystemExit, match="the state folder cannot be used"):
        worker_init.send(sender=None)


def test_a_worker_that_can_begin_nothing_hands_back_what_it_is_sent_and_says_why(farm: Farm) -> None:
    # As the child before, that hangs in a driver and holds the folder.
    predecessor = held(farm.folder / "state-waits", CHILD)
    farm.start("waits")
    own = own_queue("cpu", "waits@farm")
    farm.send(batch_of(farm.order("early-1", "Say: yes"), farm.order("early-2", "Say: yes")), own)
    for name in ("early-1", "early-2"):
        report = farm.wait(lambda: farm.reports().get(name))  # noqa: B023
        assert report.outcome is AttemptOutcome.HANDED_BACK
        assert "it can begin nothing: another worker uses" in report.detail
    predecessor.close()
    farm.send(batch_of(farm.order("good-8", "Say: yes")), own)
    assert farm.wait(lambda: farm.reports().get("good-8")).outcome is AttemptOutcome.COMPLETED
    farm.processes.stop("waits")


def test_a_probe_of_one_that_is_stuck_fails_and_where_the_broker_is_away_it_does_not(farm: Farm) -> None:
    # The last of these tests: the broker does not come back.
    worker = "worker@farm"
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


def _child(farm: Farm) -> psutil.Process:
    """The process that runs batches."""
    (main,) = psutil.Process(farm.processes.pids["worker"]).children()
    (child,) = [each for each in main.children() if each.children()]
    return child
