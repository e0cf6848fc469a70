"""The process that engines are forked from: `python -m workers.engines.engine_server FOLDER`.

It has imported vLLM's API server, which takes a third of a small model's start. The engine's other processes vLLM
starts anew, by Python's spawn, as where it is a command: they meet no device that was in use before a fork. Each of
them imports this module too, under another name, which is why nothing is imported here until it is wanted.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from specs.processes.garbage import collect_rarely

_IMPORTED = (
    "vllm.entrypoints.launchers.api_server.entry",
    # And what it (vLLM 0.32) imports only once it is under way.
    "vllm.entrypoints.launchers.api_server.routers",
    "vllm.v1.engine.async_llm",
    "vllm.v1.engine.core_client",
    "uvloop",
)


def main(arguments: list[str]) -> None:
    """Be an engine with these arguments, those of `vllm serve`."""
    from vllm.entrypoints.launchers.api_server.entry import main as serve_api  # noqa: PLC0415

    from workers.engines.model_inspection import inspect_in_a_fork  # noqa: PLC0415
    from workers.engines.template_clock import stop_the_clock_of_templates  # noqa: PLC0415

    inspect_in_a_fork()
    stop_the_clock_of_templates()
    sys.argv = ["vllm", *arguments]
    serve_api()


# Here and in what vLLM starts, each of which imports as much.
if __name__ in ("__main__", "__mp_main__"):
    collect_rarely()

if __name__ == "__main__":
    from workers.processes.fork_server import listen, serve

    # Before the import, so that whoever asks meanwhile waits in line.
    _listener = listen(Path(sys.argv[1]))
    for _name in _IMPORTED:
        importlib.import_module(_name)
    serve(_listener, main)
