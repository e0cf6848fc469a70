"""What vLLM asks of a model's class is answered by a fork where one can be made, and else as vLLM does it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from tests.support.stand_in_worker import PROJECT
from workers.engines import model_inspection
from workers.engines.model_inspection import NOT_FORKED


def test_a_fork_says_what_it_found() -> None:
    found = model_inspection._forked(lambda: {"pid": os.getpid()})
    assert found is not None
    assert pickle.loads(found)["pid"] != os.getpid()  # noqa: S301 - from a fork of this process


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda: 1 / 0, id="fails"),
        pytest.param(lambda: sys.exit(0), id="ends"),
        pytest.param(lambda: os.kill(os.getpid(), signal.SIGKILL), id="is killed"),
        pytest.param(lambda: lambda: None, id="returns what cannot be told"),
    ],
)
def test_a_fork_that_finds_nothing_says_nothing(function: object) -> None:
    assert model_inspection._forked(function) is None  # type: ignore[arg-type]  # so it is


def test_where_nothing_can_be_forked_nothing_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", refuse)
    open_before = psutil.Process().num_fds()
    assert model_inspection._forked(lambda: None) is None
    assert psutil.Process().num_fds() == open_before


@pytest.mark.parametrize(
    ("function", "threads", "expected"), [("1 + 1", 1, 2), ("1 / 0", 1, "by vLLM"), ("1 + 1", 2, "by vLLM")]
)
def test_vllms_own_way_is_taken_where_a_fork_would_not_do(function: str, threads: int, expected: object) -> None:
    # In a process that has as many threads; vLLM's registry is all that it asks of vLLM.
    code = f"""
        import sys, threading, types
        names = ("vllm", "vllm.model_executor", "vllm.model_executor.models")
        sys.modules.update({{name: types.ModuleType(name) for name in names}})
        registry = sys.modules[names[-1]].registry = types.SimpleNamespace(_run_in_subprocess=lambda _: "by vLLM")
        from workers.engines.model_inspection import inspect_in_a_fork
        inspect_in_a_fork()
        ended = threading.Event()
        others = [threading.Thread(target=ended.wait) for _ in range({threads} - 1)]
        for each in others: each.start()
        print(registry._run_in_subprocess(lambda: {function}))
        ended.set()
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert ended.stdout == f"{expected}\n"
    assert (NOT_FORKED in ended.stderr) == (expected == "by vLLM")
