"""What vLLM has to know of a model's class before it starts an engine, found out in a fork."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def inspect_in_a_fork() -> None:
    """Have vLLM (0.32) import a model's module in a fork of this process, which has imported the rest of it.

    vLLM asks a process of its own, since the module may touch a device, and that imports all of vLLM anew: half of the
    start of a small model's engine, where no other of its architecture was started in the same cache folder before.
    """
    from vllm.model_executor.models import registry  # noqa: PLC0415 - an engine's process has it by now

    by_command = registry._run_in_subprocess

    def by_fork(function: Callable[[], Any]) -> Any:
        # A thread that is not in the fork may hold a lock there for ever.
        return _forked(function) if len(list(Path("/proc/self/task").iterdir())) == 1 else by_command(function)

    registry._run_in_subprocess = by_fork


def _forked(function: Callable[[], Any]) -> Any:
    """What a function returns in a fork of this process; RuntimeError, as vLLM's own, where it does not return."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            with os.fdopen(writer, "wb") as out:
                pickle.dump(function(), out)
            status = 0
        except BaseException as error:  # noqa: BLE001 - nothing of it is to go on in the fork
            sys.stderr.write(f"the model's class cannot be looked at: {type(error).__name__}: {error}\n")
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as found:
        said = found.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError("Error raised in a fork that looks at the model's class; it is in this log.")
    return pickle.loads(said)  # noqa: S301 - from a fork of this process
