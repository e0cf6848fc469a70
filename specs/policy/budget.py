"""What the operator's policy lets the farm spend, and on whom. Pure: it says what a limit is, not what was spent."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from specs.contract import Contract

GpuSeconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Seconds times GPUs; on a CPU pool, seconds of one worker."""


class BudgetLimits(Contract):
    """Limits on new reproductions; None sets none.

    A day is one of UTC, and a reproduction counts on the day on which it was planned.
    """

    gpu_seconds_per_day: GpuSeconds | None = None
    """For all of them together."""

    gpu_seconds_per_submitter: GpuSeconds | None = None
    """A day, for those that one submitter's claims caused."""

    gpu_seconds_per_namespace: GpuSeconds | None = None
    """A day, for those of models of one namespace: `tiny` of `tiny/model`."""

    approval_gpu_seconds: GpuSeconds | None = None
    """A reproduction estimated above this waits for an operator's approval."""

    @property
    def by_the_day(self) -> bool:
        """Whether any of them needs to know what was spent."""
        limits = (self.gpu_seconds_per_day, self.gpu_seconds_per_submitter, self.gpu_seconds_per_namespace)
        return any(limit is not None for limit in limits)


class BudgetRules(BudgetLimits):
    """Limits for all claims, and further ones for some."""

    community: BudgetLimits = BudgetLimits()
    """Besides, for claims on pull requests; what authors' claims caused does not count here."""

    @property
    def by_the_day_at_all(self) -> bool:
        """Whether any claim's planning depends on what was spent."""
        return self.by_the_day or self.community.by_the_day

    def approval_above(self, *, community: bool) -> float | None:
        """The estimate above which a claim waits for an approval; None where none does."""
        limits = (self.approval_gpu_seconds, self.community.approval_gpu_seconds if community else None)
        return min((limit for limit in limits if limit is not None), default=None)
