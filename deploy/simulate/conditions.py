"""What a simulated farm is like: how it sends out, what else is simulated, and what is assumed for that."""

from __future__ import annotations

from dataclasses import dataclass

from specs.policy.run import RunRules

WAKE_SECONDS = 2.0
"""Assumed for an engine to sleep or to wake, less copying its weights."""

COPIED_BYTES_PER_SECOND = 1e10
"""Assumed between the host's memory and one GPU, either way: a third of what PCI Express 4.0 with 16 lanes can do."""

HUB_BYTES_PER_SECOND = 5e8
"""Assumed from the Hub to a disk, for each model; a disk holds nothing in the morning, and whatever comes in a day."""

REPLACED_SECONDS = 300.0
"""Assumed from a worker's loss to another in its place, with nothing on its disk."""


@dataclass(frozen=True)
class Conditions:
    """Of one simulated day."""

    affinity: bool = True
    """Whether the planner is told which engines are where."""

    alone: bool = False
    """Whether every reproduction is sent by itself: without affinity, first come, first served."""

    sleep: bool = False
    """Policy's `engine.sleep`."""

    downloads: bool = False
    """Whether weights come from the Hub; else they are on every worker's disk."""

    shared_disks: bool = False
    """Whether the workers of a pool have one disk, as with the chart's `cacheClaim`; else each has its own."""

    fetch_ahead: bool = True
    """Policy's `run.fetch_ahead`."""

    losses_a_day: float = 0.0
    """Of each worker, on average: it is gone without a word, as a spot machine is."""

    @property
    def rules(self) -> RunRules:
        """Policy's, by default but for what is said here."""
        rules = RunRules(fetch_ahead=self.fetch_ahead)
        return rules.model_copy(update={"batch": 1}) if self.alone else rules


def copy_seconds(weights_bytes: int, gpus: int) -> float:
    """For an engine to sleep, or to wake."""
    return WAKE_SECONDS + weights_bytes / COPIED_BYTES_PER_SECOND / gpus


def download_seconds(weights_bytes: int) -> float:
    """From the Hub to a worker's disk."""
    return weights_bytes / HUB_BYTES_PER_SECOND
