"""A limit on a run's requests in flight that changes while it runs: a number in a file of the run's folder.

The limits of samples and of connections are Inspect's own, which its control channel changes in the same way
(`inspect_ai.util._concurrency`, 0.3.285). They live in Inspect's event loop, so they are changed from its hooks: after
every answer, which is when one more request could go out.
"""

from __future__ import annotations

from pathlib import Path

from inspect_ai.hooks import Hooks, SampleEnd, hooks
from inspect_ai.util import _concurrency as inspect_limits

from workers.runs.limit_file import read_limit


def follow_limit(folder: Path, model: str) -> None:
    """Have the run of this process keep to the limit in `folder`; `model` is Inspect's name of what is evaluated."""

    @hooks(name="reprofarm_limit", description="Keeps to the worker's limit of requests in flight")
    class Limit(Hooks):
        async def on_sample_end(self, data: SampleEnd) -> None:  # noqa: ARG002 - Inspect's signature
            limit = read_limit(folder)
            if limit is not None:
                _set(limit, model)


def _set(limit: int, model: str) -> None:
    for samples in inspect_limits._task_sample_semaphores.values():
        if isinstance(samples, inspect_limits.ResizableLimiter):
            samples.limit = limit
    for connections in inspect_limits._concurrency_registry.values():
        if connections.name == model and isinstance(connections, inspect_limits.ResizableSemaphore):
            connections.concurrency = limit
