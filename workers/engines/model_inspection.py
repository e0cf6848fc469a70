"""What vLLM has to know of a model's class before it starts an engine, found out in a fork."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NOT_FORKED = "reprofarm: the model's class is looked at in a process of its own"
"""In the engine's log, where it comes up later for that."""


def inspect_in_a_fork() -> None:
    """Have vLLM (0.32) import a model's module in a fork of this process, which has imported the rest of it.

    vLLM asks a process of its own, since the module may touch a device, and that imports all of vLLM anew: half of the
    start of a small model's engine, where no other of its architecture was started in the same cache folder before.
    """
    from vllm.model_executor.models import registry  # noqa: PLC0415 - an engine's process has it by now

    by_command = registry._run_in_subprocess

    def by_fork(function: Callable[[], Any]) -> Any:
        # A thread that is not in the fork may hold a lock there for ever.
        if len(list(Path("/proc/self/task").iterdir())) == 1 and (found := _forked(function)):
            return pickle.loads(found)  # noqa: S301 - from a fork of this process
        # It also says best what is wrong with a model.
        sys.stderr.write(f"{NOT_FORKED}\n")
        return by_command(function)

    registry._run_in_subprocess = by_fork


def _forked(function: Callable[[], Any]) -> bytes | None:
    """What a function returns in a fork of this process, pickled; None where it returns nothing that can be."""
    reader, writer = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        return None
    if child == 0:
        status = 1
        try:
            with os.fdopen(writer, "wb") as out:
                pickle.dump(function(), out)
            status = 0
        finally:
            # Nothing of this process is to go on in the fork.
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        found = pipe.read()
    _, status = os.waitpid(child, 0)
    return found if status == 0 else None
