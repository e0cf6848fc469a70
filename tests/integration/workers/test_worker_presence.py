"""A real worker says that it is there, leaves a device alone that is not free, and lets nothing outlive it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from specs.engine_key import engine_key
from specs.messages import RUN_BATCH, AttemptOutcome, RunBatch
from tests.support.stand_in_worker import PROJECT
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, until
from tests.support.worker_bench import batch_of
from tests.support.worker_farm import Farm, worker_farm

GIB = 2**30
FAKE_NVML = PROJECT / "tests" / "support" / "fake_nvml"


def held(free_gib: int, processes: dict[int, int | None] | None = None) -> list[dict[str, Any]]:
    """A machine with one GPU."""
    named = {str(pid): used for pid, used in (processes or {}).items()}
    return [{"name": "NVIDIA H100", "uuid": "GPU-1", "total": 80 * GIB, "free": free_gib * GIB, "processes": named}]


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A worker of one GPU, at the edge of which stands a file; its engine has children in sessions of their own."""
    folder = tmp_path_factory.mktemp("farm")
    gpus(folder, held(79))
    with worker_farm(
        folder,
        "--family",
        "2",
        path=str(FAKE_NVML),
        CUDA_FAKE_NVML=str(folder / "nvml.json"),
        REPROFARM_WORKER_GPUS="1",
        REPROFARM_WORKER_DEVICE_PATIENCE_SECONDS="1",
        REPROFARM_WORKER_ALIVE_SECONDS="1",
    ) as found:
        yield found


def gpus(folder: Path, found: list[dict[str, Any]]) -> None:
    unfinished = folder / "nvml.json.unfinished"
    unfinished.write_text(json.dumps(found))
    unfinished.replace(folder / "nvml.json")


def on_gpu(batch: RunBatch) -> RunBatch:
    return batch.model_copy(update={"gpus": 1})


def below(farm: Farm) -> list[psutil.Process]:
    """The stand-in's whole family: what a kill must not leave behind."""
    return [
        each for engine in farm.engines() for each in [engine, *engine.children(recursive=True)] if each.is_running()
    ]


def celery_main(farm: Farm) -> psutil.Process:
    (main,) = psutil.Process(farm.processes.pids["worker"]).children()
    return main


def test_an_idle_worker_says_that_it_is_there(farm: Farm) -> None:
    said = farm.wait(lambda: farm.said("idle"))
    assert (said.pool, said.engine, said.reason) == ("cpu", None, "")
    assert [(each.device, each.total_bytes) for each in said.memory] == [("GPU 0 NVIDIA H100", 80 * GIB)]
    first = len(farm.presence)
    farm.wait(lambda: len(farm.presence) > first + 1)


def test_a_worker_that_works_says_so_and_what_its_engine_does(farm: Farm) -> None:
    batch = on_gpu(batch_of(farm.order("busy", "[hang]")))
    farm.send(batch)
    farm.wait(lambda: farm.running("busy"))
    said = farm.wait(lambda: (busy := farm.said("busy")) and busy.engine and busy)
    assert said.engine.model == "org/model"
    assert said.engine_key == engine_key(batch.model, batch.engine, batch.gpus)
    farm.wait(lambda: (busy := farm.said("busy")) and busy.engine and busy.engine.tokens_per_second is not None)
    farm.drop("busy")
    # The engine stays warm.
    farm.wait(lambda: (idle := farm.said("idle")) and idle.engine)


def test_a_guard_that_is_killed_takes_what_was_below_it_along_though_nothing_runs(farm: Farm) -> None:
    family = below(farm)
    (guard,) = [each for each in farm.engines() if "guard.py" in " ".join(each.cmdline())]
    # Of the guard itself something stays until the worker asks after it.
    family.remove(guard)
    assert len(family) > 2
    os.kill(guard.pid, signal.SIGKILL)
    assert psutil.wait_procs(family, timeout=300)[1] == []
    farm.wait(lambda: (idle := farm.said("idle")) and not idle.engine)


def test_a_device_that_is_not_free_is_quarantined_until_it_is(farm: Farm) -> None:
    holder = os.getpid()
    gpus(farm.folder, held(3, {holder: 76 * GIB}))
    orders = farm.order("held-1", "Say: yes"), farm.order("held-2", "Say: yes")
    farm.send(on_gpu(batch_of(*orders)))
    reports = farm.wait(lambda: len(farm.reports().keys() & {"held-1", "held-2"}) == 2 and farm.reports())
    assert {reports[each].outcome for each in ("held-1", "held-2")} == {AttemptOutcome.DEVICE_BUSY}
    assert f"pid {holder} (" in reports["held-1"].detail
    said = farm.wait(lambda: farm.said("quarantined"))
    assert "GPU 0 NVIDIA H100 has 3.0 of 80.0 GiB free, needed are 74.4; in use by pid" in said.reason
    # Somebody else may have it: this worker does not take it.
    farm.wait(farm.takes_nothing)
    farm.send(on_gpu(batch_of(farm.order("after", "Say: yes"))))
    own = farm.own_queue()
    # One that is refused as soon as it is taken, and so starts no engine.
    farm.celery.send_task(RUN_BATCH, args=[{"version": 99}], queue=own)
    heard = len(farm.presence)
    farm.wait(lambda: len(farm.presence) > heard + 3)
    assert (farm.waiting(), farm.waiting(own)) == (1, 1)
    gpus(farm.folder, held(79))
    farm.wait(lambda: farm.mentioned("after"))
    farm.wait(lambda: farm.waiting(own) == 0)
    farm.drop("after")
    farm.wait(lambda: farm.said("idle"))


def test_a_gpu_that_is_not_well_keeps_work_away_until_it_is_and_heat_does_not(farm: Farm) -> None:
    (well,) = held(79)
    gpus(farm.folder, [{**well, "temperature": 91, "throttle": 0x40}])
    hot = farm.wait(lambda: (said := farm.said("idle")) and (h := said.memory[0].health) and h.throttled and said)
    assert hot.memory[0].health.temperature_celsius == 91
    gpus(farm.folder, [{**well, "uncorrected": 2}])
    ill = farm.wait(lambda: farm.said("quarantined"))
    assert "its device is not well: GPU 0 NVIDIA H100: its memory had 2 uncorrected errors" in ill.reason
    assert ill.memory[0].health.uncorrected_errors == 2
    # Celery acts on it in its own time; what it takes before that is refused by the gate.
    farm.wait(farm.takes_nothing)
    farm.send(on_gpu(batch_of(farm.order("kept-away", "Say: yes"))))
    heard = len(farm.presence)
    farm.wait(lambda: len(farm.presence) > heard + 3)
    assert farm.waiting() == 1
    # A reset clears the count.
    gpus(farm.folder, [{**well, "uncorrected": 0}])
    farm.wait(lambda: farm.mentioned("kept-away"))
    farm.drop("kept-away")
    gpus(farm.folder, held(79))
    farm.wait(lambda: farm.said("idle"))


def test_a_quarantined_worker_stays_out_when_redis_forgets_everything_and_comes_back_after(farm: Farm) -> None:
    gpus(farm.folder, held(0, {1: None}))
    farm.send(on_gpu(batch_of(farm.order("held-3", "Say: yes"))))
    farm.wait(lambda: farm.said("quarantined"))
    (server,) = psutil.Process(farm.processes.pids["redis"]).children()
    # Connections break; what waited is gone.
    with redis.Redis.from_url(farm.broker) as client:
        client.flushall()
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_kill_filter(_type="pubsub", skipme=True)
    assert server.is_running()
    heard = len(farm.presence)
    farm.wait(lambda: len(farm.presence) > heard + 3)
    farm.send(on_gpu(batch_of(farm.order("later", "Say: yes"))))
    heard = len(farm.presence)
    farm.wait(lambda: len(farm.presence) > heard + 3)
    assert farm.waiting() == 1
    gpus(farm.folder, held(79))
    farm.wait(lambda: farm.mentioned("later"))
    farm.drop("later")
    farm.wait(lambda: farm.said("idle"))


def test_a_killed_child_and_its_killed_guard_leave_nothing(farm: Farm) -> None:
    farm.send(on_gpu(batch_of(farm.order("killed-1", "[hang]"))))
    farm.wait(lambda: len(below(farm)) > 3)
    family = below(farm)
    (guard,) = [each for each in farm.engines() if "guard.py" in " ".join(each.cmdline())]
    (child,) = [each for each in celery_main(farm).children() if each.children()]
    guard.suspend()
    os.kill(child.pid, signal.SIGKILL)
    os.kill(guard.pid, signal.SIGKILL)
    assert psutil.wait_procs(family, timeout=300)[1] == []


def test_a_killed_main_process_leaves_neither_child_nor_engine(farm: Farm) -> None:
    farm.send(on_gpu(batch_of(farm.order("killed-2", "[hang]"))))
    farm.wait(lambda: len(below(farm)) > 3)
    main = celery_main(farm)
    everything = [*main.children(recursive=True), *below(farm)]
    os.kill(main.pid, signal.SIGKILL)
    assert psutil.wait_procs(everything, timeout=300)[1] == []
    until(lambda: not farm.engines(), patience_seconds=PROCESS_PATIENCE_SECONDS)
