"""Engines that sleep while another is up: real processes, of which only vLLM is a stand-in and there is no GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil
import pytest

from specs.engine_key import engine_key
from specs.errors import EngineError
from specs.messages import ModelRef
from specs.policy.engine import EngineRules
from tests.support.small_repos import COMMIT, write_model
from tests.support.waiting import until
from tests.support.worker_bench import stand_in
from workers.engines.devices import GIB, Device
from workers.engines.engine import Engine
from workers.engines.engine_logs import KEPT, logs, new_log
from workers.engines.engine_manager import EngineManager
from workers.engines.engine_process import EngineCommand
from workers.engines.gate import Gate
from workers.engines.local_http import local_http
from workers.errors import DeviceBusy
from workers.settings import WorkerSettings
from workers.shared_state import SharedState

RULES = EngineRules(start_seconds=600.0, sleep=True)


@dataclass
class Memory:
    """A device whose free memory a test decides."""

    free_gib: Callable[[], float] = lambda: 100.0
    capability: float | None = None

    def look(self) -> tuple[Device, ...]:
        return (Device("memory", 100 * GIB, int(self.free_gib() * GIB), compute_capability=self.capability),)


@dataclass
class Rig:
    """An engine manager, and what it runs on."""

    folder: Path
    engine: tuple[str, ...] = field(default_factory=stand_in)
    host: Memory = field(default_factory=Memory)
    gpu: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self.shared = SharedState(self.folder / "board")
        # As if the main process had stopped consuming.
        self.shared.heed()
        settings = WorkerSettings(device_patience_seconds=0.1)
        self.gate = Gate(settings, self.shared, self.devices)
        folder = self.folder / "engine"
        self.manager = EngineManager(
            folder, EngineCommand(self.engine), self.gate, self.shared, self.devices, self.host
        )

    def devices(self, _gpus: int | None) -> Memory:
        return self.gpu

    def up(self, name: str, rules: EngineRules = RULES, gpus: int = 1) -> Engine:
        snapshot = self.folder / name
        if not snapshot.exists():
            write_model(snapshot)
        model = ModelRef(model_id=f"org/{name}", revision=COMMIT)
        return self.manager.engine_for(model, next(snapshot.rglob("*.safetensors")).parent, rules, gpus)

    def asleep(self) -> list[str]:
        return [each.model.model_id for each in self.shared.asleep()]

    def ask(self, engine: Engine, words: str) -> None:
        """Have an engine answer; what comes of it is nobody's."""
        headers = {"Authorization": f"Bearer {self.manager.api_key}"}
        message = {"role": "user", "content": words}
        with suppress(httpx2.HTTPError):
            body = {"model": engine.served_name, "messages": [message]}
            local_http().post(f"{engine.base_url}/chat/completions", headers=headers, json=body, timeout=60)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    found = Rig(tmp_path)
    yield found
    found.manager.stop()


def pid(engine: Engine) -> int:
    return engine.note().guard_pid


def test_an_engine_that_gave_way_is_woken_and_not_started_again(rig: Rig) -> None:
    one = rig.up("one")
    two = rig.up("two")
    assert rig.asleep() == ["org/one"]
    again = rig.up("one")
    assert (again, rig.asleep()) == (one, ["org/two"])
    note = rig.shared.engine()
    assert note is not None
    assert note.model.model_id == "org/one"
    assert two.alive()
    assert "--enable-sleep-mode" in one.arguments


def test_one_that_wakes_is_one_that_started_for_the_count_of_those_that_do_not(rig: Rig) -> None:
    one = rig.up("one")
    rig.up("two")
    for name in ("three", "four"):
        rig.gate.note_failure(f"org/{name}", EngineError("it ended"))
    assert rig.up("one") is one
    rig.gate.note_failure("org/five", EngineError("it ended"))
    assert rig.shared.quarantined() is None


def test_what_another_engine_said_meanwhile_is_not_taken_for_its_words(rig: Rig) -> None:
    one, two = rig.up("one"), rig.up("two")
    rig.ask(two, "[out of memory]")
    until(lambda: not two.alive())
    assert (two.ran_out_of_memory(), rig.manager.log_tail()) == (True, two.log_tail())
    assert rig.up("one") is one
    assert rig.manager.log_tail() == "stand-in up"
    rig.ask(one, "[die]")
    until(lambda: not one.alive())
    assert not one.ran_out_of_memory()


def test_old_logs_give_way_and_those_of_engines_that_are_there_stay(tmp_path: Path) -> None:
    asleep = new_log(tmp_path, [])
    made = [new_log(tmp_path, [asleep]) for _ in range(KEPT + 3)]
    assert logs(tmp_path) == [asleep, *made[3:]]


def test_an_engine_that_serves_under_other_rules_too_is_known_by_those(rig: Rig) -> None:
    one = rig.up("one")
    before = rig.shared.engine()
    patient = RULES.model_copy(update={"start_seconds": 700.0})
    assert rig.up("one", patient) is one
    now = rig.shared.engine()
    assert before is not None
    assert now is not None
    assert (now.key, now.key != before.key) == (engine_key(now.model, patient, 1), True)


def test_a_moment_in_which_a_gpu_does_not_say_what_it_can_ends_no_engine(rig: Rig) -> None:
    invariant = RULES.model_copy(update={"batch_invariant": "where_possible"})
    rig.gpu.capability = 9.0
    one = rig.up("one", invariant)
    rig.gpu.capability = None
    assert (rig.up("one", invariant), one.batch_invariant, rig.asleep()) == (one, True, [])


def test_nothing_sleeps_unless_policy_says_so_or_on_a_cpu(rig: Rig) -> None:
    one = rig.up("one", RULES.model_copy(update={"sleep": False}))
    two = rig.up("two", gpus=0)
    rig.up("three", gpus=0)
    assert (one.alive(), two.alive(), rig.asleep()) == (False, False, [])
    assert "--enable-sleep-mode" not in two.arguments


def test_what_does_not_fit_into_the_hosts_memory_ends_the_one_that_was_not_used_for_longest(rig: Rig) -> None:
    one = rig.up("one")
    # Beside the tenth that is kept free, so much that two and a half fit.
    rig.host.free_gib = lambda: 10.0 + 2.0 * (2.5 - len(rig.shared.asleep())) * one.weights_bytes / GIB
    two, three = rig.up("two"), rig.up("three")
    rig.up("four")
    assert (one.alive(), two.alive(), three.alive()) == (False, True, True)
    assert rig.asleep() == ["org/two", "org/three"]


def test_where_the_end_of_all_would_not_make_room_none_ends(rig: Rig) -> None:
    rig.host.free_gib = lambda: 100.0 if len(rig.shared.asleep()) < 2 else 9.0
    one, two, three = rig.up("one"), rig.up("two"), rig.up("three")
    rig.up("four")
    assert (one.alive(), two.alive(), three.alive()) == (True, True, False)
    assert rig.asleep() == ["org/one", "org/two"]


def test_where_the_end_of_all_might_not_make_room_for_what_they_really_hold_none_ends(rig: Rig) -> None:
    one, two, three = rig.up("one"), rig.up("two"), rig.up("three")
    # Each holds little more than its weights. By what each holds at most, the end of both would make room.
    rig.host.free_gib = lambda: 10.0 + (1.1 * (2 - len(rig.shared.asleep())) - 1.0) * one.weights_bytes / GIB
    rig.up("four")
    assert (one.alive(), two.alive(), three.alive()) == (True, True, False)
    assert rig.asleep() == ["org/one", "org/two"]


def test_the_one_that_is_to_be_woken_does_not_make_room_for_the_one_that_gives_way(rig: Rig) -> None:
    rig.host.free_gib = lambda: 100.0 if not rig.shared.asleep() else 1.0
    one, two = rig.up("one"), rig.up("two")
    assert (rig.up("one"), two.alive(), rig.asleep()) == (one, False, [])


def test_one_that_has_slept_sleeps_again_in_the_memory_that_it_kept(rig: Rig) -> None:
    one = rig.up("one")
    rig.up("two")
    # Of what is taken now, a part is its own.
    rig.host.free_gib = lambda: 10.0
    assert (rig.up("one"), rig.asleep()) == (one, [])
    rig.up("three")
    assert (one.alive(), rig.asleep()) == (True, ["org/one"])


def test_where_the_host_has_no_room_an_engine_just_ends(rig: Rig) -> None:
    rig.host.free_gib = lambda: 5.0
    one = rig.up("one")
    rig.up("two")
    assert (one.alive(), rig.asleep()) == (False, [])


def test_what_sleepers_keep_of_the_gpu_is_our_own_and_given_up_first(rig: Rig) -> None:
    rig.gpu.free_gib = lambda: 100.0 - 6.0 * len(rig.shared.asleep())
    one, two = rig.up("one"), rig.up("two")
    # Six of a hundred are given away; twelve would be too many.
    three = rig.up("three")
    assert (one.alive(), two.alive(), three.alive()) == (False, True, True)
    assert rig.shared.quarantined() is None


def test_what_a_stranger_holds_is_a_strangers_still(rig: Rig) -> None:
    rig.up("one")
    rig.gpu.free_gib = lambda: 10.0
    with pytest.raises(DeviceBusy):
        rig.up("two")
    assert rig.asleep() == []
    assert rig.shared.quarantined() is not None


def test_one_that_will_not_sleep_is_ended(tmp_path: Path) -> None:
    rig = Rig(tmp_path, engine=stand_in("--restless"))
    one = rig.up("one")
    two = rig.up("two")
    assert (one.alive(), two.alive(), rig.asleep()) == (False, True, [])
    rig.manager.stop()


def test_one_that_died_in_its_sleep_is_started_again(rig: Rig) -> None:
    one = rig.up("one")
    rig.up("two")
    psutil.Process(pid(one)).terminate()
    psutil.wait_procs([psutil.Process(pid(one))], timeout=300)
    again = rig.up("one")
    assert again is not one
    assert rig.asleep() == ["org/two"]


def test_all_end_with_their_worker(rig: Rig) -> None:
    engines = [rig.up("one"), rig.up("two"), rig.up("three")]
    everything = [psutil.Process(pid(each)) for each in engines]
    everything += [child for each in everything for child in each.children(recursive=True)]
    rig.manager.stop()
    assert psutil.wait_procs(everything, timeout=300)[1] == []
    assert (rig.asleep(), rig.shared.engine()) == ([], None)
