"""A worker's words about itself, in their order."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from specs.messages import ModelRef, WorkerAlive, WorkerState
from workers.engines.devices import Device
from workers.presence import presence as presence_module
from workers.presence.presence import Presence, Self
from workers.shared_state import EngineNote, Quarantine, SharedState


class Memory:
    def look(self) -> tuple[Device, ...]:
        return (Device("memory", 2**34, 2**33),)


class Consuming:
    def pause(self) -> None: ...

    def resume(self) -> None: ...


def presence(folder: Path, said: list[WorkerAlive]) -> Presence:
    # Every look is a word.
    who = Self("cpu@host", "cpu", "CPU", every_seconds=1.0)
    return Presence(who, SharedState(folder), Memory(), said.append, Consuming())


def test_an_engine_of_a_worker_that_is_no_more_is_not_said_to_be_there(tmp_path: Path) -> None:
    said: list[WorkerAlive] = []
    found = presence(tmp_path, said)
    # Its state folder was kept, and its guard's number is another process's by now.
    note = EngineNote(
        model=ModelRef(model_id="org/model", revision="a" * 40),
        key="b" * 64,
        started_at=datetime.now(UTC),
        base_url="http://127.0.0.1:9/v1",
        guard_pid=os.getpid(),
        guard_start=1,
        mark=f"{tmp_path}:gone",
    )
    SharedState(tmp_path).note_engine(note)
    SharedState(tmp_path).note_asleep((note,))
    found.look()
    assert [(word.engine, word.engine_key, word.asleep) for word in said] == [(None, None, ())]


def test_each_word_has_a_greater_number_though_the_clock_is_set_back_and_the_worker_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[WorkerAlive] = []
    first = presence(tmp_path, said)
    first.look()
    clock = time.time_ns
    with monkeypatch.context() as set_back:
        set_back.setattr(time, "time_ns", lambda: clock() - 3600 * 10**9)
        first.draining = True
        first.look()
    presence(tmp_path, said).look()
    numbers = [word.number for word in said]
    assert None not in numbers
    assert len(set(numbers)) == 3
    assert sorted(numbers, key=lambda each: each or 0) == numbers


def test_a_worker_that_starts_no_engines_is_out_until_one_is_to_be_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_module, "DEVICE_LOOK_SECONDS", 0.0)
    said: list[WorkerAlive] = []
    found, shared = presence(tmp_path, said), SharedState(tmp_path)
    note = Quarantine(reason="its device starts no engine", free_bytes=0, free_part=0.0)
    for until in (datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC)):
        shared.quarantine(note.model_copy(update={"until": until}))
        found.look()
    assert [(word.state, word.reason) for word in said] == [
        (WorkerState.QUARANTINED, "its device starts no engine"),
        (WorkerState.IDLE, ""),
    ]
