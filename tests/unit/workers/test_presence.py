"""A worker's words about itself, in their order."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from specs.messages import WorkerAlive
from workers.engines.devices import Device
from workers.presence.presence import Presence, Self
from workers.shared_state import SharedState


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
