"""Leases, deadlines, attempts and batches: the operator's patience."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from specs.contract import Contract


class RunRules(Contract):
    """Patience and persistence."""

    heartbeat_seconds: Annotated[float, Field(gt=0)] = 5.0
    lease_seconds: Annotated[float, Field(gt=0)] = 30.0
    """An attempt that did not renew for so long is taken from its worker."""

    stall_seconds: Annotated[float, Field(gt=0)] = 900.0
    """A run in which no sample finished for so long is ended, unless the engine generates for it."""

    deadline_seconds: Annotated[float, Field(gt=0)] = 86_400.0
    """One attempt takes no longer."""

    queue_seconds: Annotated[float, Field(gt=0)] = 604_800.0
    """A reproduction that no worker took for so long ends as failed, with that reason."""

    attempts: Annotated[int, Field(ge=1)] = 3
    """Tries before our own failures make a reproduction failed."""

    worker_deaths: Annotated[int, Field(ge=1)] = 2
    """Workers that may die over a reproduction before it is given up: ended as failed, and not tried again."""

    batch: Annotated[int, Field(ge=1)] = 16
    """Reproductions of one model that travel together at most. How long they take bounds it too."""

    side_by_side: Annotated[int, Field(ge=1, le=64)] = 2
    """Reproductions of a batch that run at once on its engine, which the end of a single run leaves half idle. They
    share `engine.concurrency`."""

    fetch_ahead: bool = True
    """Workers fetch what they are likely to need next while they run something else."""

    hold_back_seconds: Annotated[float, Field(ge=0)] = 300.0
    """A reproduction that has waited for longer goes before others of its priority whose engine is loaded already."""

    @model_validator(mode="after")
    def _lease_outlives_heartbeats(self) -> RunRules:
        if self.lease_seconds < 3 * self.heartbeat_seconds:
            raise ValueError("lease_seconds must be at least three heartbeats, or one lost message loses the lease")
        return self
