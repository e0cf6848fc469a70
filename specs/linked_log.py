"""The Inspect log that a claim names as its source, and what it is worth beside a run of our own.

Whoever made it may have made it up. Its scores are predictions of ours: they can cost samples, and never change a
verdict.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from specs.decision import population_of
from specs.measurement import Measurement, Sha256
from specs.model import Contract
from specs.packed import PackedProportions
from specs.stopping import Stopping, is_guided_by
from specs.verdict import LinkedLogUse

NOISE = 0.15
"""docs/decisions/0010: honest runs of one model were seen to differ in up to so many of their answers."""


class LinkedLog(Contract):
    """What a linked log says, once it was found to be a whole run of the claimed task with the claimed score."""

    sha256: Sha256
    """Of the log's bytes."""

    scores: PackedProportions
    """Of every sample over its epochs, by position in the dataset."""

    targets_sha256: Sha256
    """Of the samples' targets in that order (`specs.stopping.targets_sha256`)."""


class LinkedLogReading(Contract):
    """What became of reading it."""

    url: str
    log: LinkedLog | None
    reason: Annotated[str, Field(max_length=2000)]
    """Why it cannot be used; empty where it can."""


def held_against(reading: LinkedLogReading, stopping: Stopping, measurement: Measurement) -> LinkedLogUse:
    """A linked log beside the samples that a completed run counted."""
    log, population = reading.log, population_of(measurement)
    if log is None:
        return _unused(reading, None, reading.reason)
    if len(log.scores) != population.samples:
        return _unused(reading, log, f"it has {len(log.scores)} samples, the dataset {population.samples}")
    if log.targets_sha256 != population.targets_sha256:
        return _unused(reading, log, "its samples have other targets than those of this run")
    differences = [
        abs(log.scores[sample_id - 1] - score)
        for sample_id, score in zip(measurement.sample_ids, measurement.sample_scores, strict=True)
        if score is not None and isinstance(sample_id, int)
    ]
    differing = min(1.0, sum(differences) / len(differences)) if differences else None
    used = is_guided_by(stopping, population, log.sha256)
    return LinkedLogUse(
        url=reading.url,
        sha256=log.sha256,
        used=used,
        reason="",
        compared=len(differences),
        differing=differing,
        suspicious=differing is not None and differing > NOISE,
    )


def _unused(reading: LinkedLogReading, log: LinkedLog | None, reason: str) -> LinkedLogUse:
    sha256 = log.sha256 if log is not None else None
    return LinkedLogUse(
        url=reading.url, sha256=sha256, used=False, reason=reason, compared=0, differing=None, suspicious=False
    )
