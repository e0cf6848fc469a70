"""What the API says, version 1, of workers and pools. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from specs.api_v1.views import View

WorkerStateName = Literal["idle", "busy", "draining", "quarantined", "lost"]


class GpuHealthView(View):
    """How a GPU is; null is what its driver does not say."""

    temperature_celsius: int | None
    uncorrected_errors: int | None
    """Of its memory, since the driver was loaded or the GPU was reset."""

    sickness: str | None
    """Why its worker takes nothing until somebody acts; null where nothing speaks against it."""

    worries: tuple[str, ...]
    """What somebody should look at; its worker goes on."""


class DeviceMemoryView(View):
    """Memory of a GPU, or of the machine of a CPU pool."""

    device: str
    total_bytes: int
    free_bytes: int
    health: GpuHealthView | None
    """Of a GPU; null for anything else, and for workers of earlier versions, which do not report it."""


class LoadedEngineView(View):
    """The engine that a worker keeps."""

    model: str
    revision: str
    started_at: datetime
    tokens_per_second: float | None
    """Of output, lately; null where the engine does not say."""


class WorkerView(View):
    """A worker process, as it last spoke of itself."""

    name: str
    pool: str
    state: WorkerStateName
    """`lost`: it should have spoken long ago. One that was asked to stop leaves the list when it is gone."""

    reason: str
    """Why it is in this state; of a quarantined one, who holds its device. Empty where there is nothing to say."""

    since: datetime
    """When it came into this state."""

    seen_at: datetime
    """Its last word."""

    hardware: str
    memory: tuple[DeviceMemoryView, ...]
    engine: LoadedEngineView | None
    """Null where it has none."""

    reproduction_id: str | None
    """Id of a reproduction that it is running, one of them if there are several; null if it is running none."""

    attempt: int | None
    """Number of that attempt; null like it."""


class PoolView(View):
    """A class of workers, and what waits for them."""

    name: str
    device: Literal["cpu", "gpu"] | None
    """Null, like the two that follow, where the pool is not in the farm's policy any more."""

    gpus: int | None
    """Of one worker."""

    memory_gib: float | None
    """Of one GPU, or of the machine for a CPU pool."""

    queued: int
    """Reproductions that wait in the farm."""

    dispatched: int
    """Reproductions that wait in the broker."""

    running: int
    workers_alive: int
    """Those that are idle, busy or draining, or quarantined."""

    workers_ready: int
    """Of those, idle or busy: they take work."""

    workers_wanted: int
    """How many workers could be busy now: one for each batch that is with the broker or a worker, one for each batch
    that what is queued will make up, and, if there are any of these, one to stand in for each worker in quarantine. An
    autoscaler follows it, as the length of the broker's queue says nothing about work that is running."""

    oldest_wait_seconds: float | None
    """How long that one has waited which has waited longest of those that could be run now; null where none could."""
