"""Batch-invariant kernels: in force only where policy wants them and the hardware has them, and told to the engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from specs.errors import EngineError
from specs.messages import ModelRef
from specs.policy.engine import BatchInvariant, EngineRules
from tests.support.engines import engines
from tests.support.small_repos import COMMIT, write_model
from workers.engines.devices import Device, Devices
from workers.engines.engine_process import EngineCommand
from workers.engines.kernels import Kernels


def gpus(*capabilities: float | None) -> Callable[[int | None], Devices]:
    class Found:
        def look(self) -> tuple[Device, ...]:
            return tuple(Device(f"GPU {i}", 1, 1, compute_capability=each) for i, each in enumerate(capabilities))

    return lambda _: Found()


@pytest.mark.parametrize(
    ("wish", "capabilities", "expected"),
    [
        ("off", (9.0,), False),
        ("where_possible", (9.0,), True),
        ("where_possible", (8.0, 8.9), True),
        ("where_possible", (9.0, 7.5), False),
        ("where_possible", (None,), False),
        ("where_possible", (), False),
        ("required", (9.0,), True),
    ],
)
def test_they_are_used_where_policy_wants_them_and_every_gpu_has_them(
    wish: BatchInvariant, capabilities: tuple[float | None, ...], expected: bool
) -> None:
    rules = EngineRules(batch_invariant=wish)
    assert Kernels(gpus(*capabilities)).use_batch_invariant(rules, len(capabilities)) is expected


@pytest.mark.parametrize(
    ("capabilities", "words"),
    [((7.5,), "this worker has GPU 0 of 7.5"), ((None,), "GPU 0 of unknown capability"), ((), "none that its driver")],
)
def test_hardware_without_kernels_that_policy_requires_is_a_clear_failure(
    capabilities: tuple[float | None, ...], words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        Kernels(gpus(*capabilities)).use_batch_invariant(EngineRules(batch_invariant="required"), len(capabilities))


@pytest.mark.parametrize("moment", [(), (None, None), (9.0, None)])
def test_what_gpus_once_said_they_can_holds_while_their_driver_does_not_say_it(
    moment: tuple[float | None, ...],
) -> None:
    found = iter([gpus(*moment), gpus(9.0, 9.0), gpus(*moment)])
    kernels = Kernels(lambda _: next(found)(None))
    where_possible = EngineRules(batch_invariant="where_possible")
    assert [kernels.use_batch_invariant(where_possible, 2) for _ in range(3)] == [False, True, True]
    assert kernels.use_batch_invariant(EngineRules(batch_invariant="required"), 2)


@pytest.mark.parametrize(("capability", "expected"), [(9.0, "1"), (7.5, "0")])
def test_the_engine_is_told_either_way_whatever_the_worker_was_started_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capability: float, expected: str
) -> None:
    monkeypatch.setenv("VLLM_BATCH_INVARIANT", "7")
    told = tmp_path / "told"
    program = f"import os, pathlib; pathlib.Path({str(told)!r}).write_text(os.environ['VLLM_BATCH_INVARIANT'])"
    manager = engines(tmp_path / "engine", EngineCommand([sys.executable, "-c", program]), gpus(capability))
    model = ModelRef(model_id="org/model", revision=COMMIT)
    # It is no engine, and ends at once.
    with pytest.raises(EngineError, match="ended while it was starting"):
        manager.engine_for(model, write_model(tmp_path), EngineRules(batch_invariant="where_possible"), 1)
    assert told.read_text() == expected
