"""The process of an engine: a command of its own, or a fork of one that has imported vLLM."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from specs.errors import EngineError
from workers.engines.engine_environment import engine_environment
from workers.engines.engine_faults import log_tail
from workers.processes.forked import Forked, ForkServer, NoServerError
from workers.processes.guarded import Guarded

_GRACE_SECONDS = 15.0
_LOOK_SECONDS = 0.1


def engine_server(folder: Path, engine_folder: Path) -> ForkServer:
    """What engines are forked from, in a folder of its own; they write to `engine_folder`."""
    return ForkServer("workers.engines.engine_server", folder, engine_environment(engine_folder))


def start_process(
    vllm: Sequence[str] | ForkServer,
    arguments: Sequence[str],
    variables: Mapping[str, str],
    log: Path,
    patience_seconds: float,
    on_wait: Callable[[], None],
) -> Guarded | Forked:
    """Start it, in the folder of its log. `vllm` is what takes the arguments, a command or a server to fork it.

    `on_wait` is called while that server still imports; what it raises ends the start.

    Raises:
        EngineError: the server does not come up, or takes nothing for longer than the patience: then it is ended.
    """
    folder = log.parent
    if not isinstance(vllm, ForkServer):
        return Guarded(
            [*vllm, *arguments],
            environment={**engine_environment(folder), **variables},
            folder=folder,
            log=log,
            grace_seconds=_GRACE_SECONDS,
            # Its sockets, which it leaves behind however it ends.
            own_temporary=True,
        )
    try:
        forked = vllm.fork(arguments, variables, folder, log, grace_seconds=_GRACE_SECONDS, own_temporary=True)
    except NoServerError as error:
        raise EngineError(str(error), log_tail(vllm.log)) from error
    deadline = time.monotonic() + patience_seconds
    try:
        while forked.poll() is None and forked.pid is None:
            on_wait()
            if time.monotonic() > deadline:
                # As a driver may hang that libraries ask for its devices. The next engine gets another server.
                vllm.stop()
                took_none = f"took none for {patience_seconds:.0f} s, and was ended"
                raise EngineError(f"the process that engines are forked from {took_none}", log_tail(vllm.log))
            time.sleep(_LOOK_SECONDS)
    except BaseException:
        forked.stop()
        raise
    if forked.pid is None:
        raise EngineError("the process that engines are forked from ended", log_tail(vllm.log))
    return forked
