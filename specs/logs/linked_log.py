"""The Inspect log that a claim names as its source, and what it is worth beside a run of our own.

Whoever made it may have made it up. Its scores are predictions of ours: they can cost samples, and never change a
verdict.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from specs.contract import Contract
from specs.judging.decision import population_of
from specs.judging.packed import PackedProportions
from specs.judging.stopping import Stopping, is_guided_by
from specs.judging.suspicion import NOISE, is_suspicious, noise_of_sampled
from specs.judging.verdict import LinkedLogUse
from specs.measurement import Measurement, Sha256


class LinkedLog(Contract):
    """What a linked log says, once it was found to be a whole run of the claimed task with the claimed score."""

    sha256: Sha256
    """Of the log's bytes."""

    scores: PackedProportions
    """Of every sample over its epochs, by position in the dataset."""

    targets_sha256: Sha256
    """Of the samples' targets in words, in that order (`targets_sha256` and `target_in_words` in specs/judging)."""

    greedy: bool
    """Whether it says that its answers were decoded greedily. Where it does not, another run would differ more."""


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
    pairs = [
        (log.scores[sample_id - 1], score)
        for sample_id, score in zip(measurement.sample_ids, measurement.sample_scores, strict=True)
        if score is not None and isinstance(sample_id, int)
    ]
    differences = [abs(theirs - ours) for theirs, ours in pairs]
    differing = min(1.0, sum(differences) / len(differences)) if differences else None
    suspicious = is_suspicious(differences, _noise(log, pairs, measurement))
    used = is_guided_by(stopping, population, log.sha256)
    return LinkedLogUse(
        url=reading.url,
        sha256=log.sha256,
        used=used,
        reason=_agreement(differing, len(differences), suspicious=suspicious) + ("" if used else _why_unused(stopping)),
        compared=len(differences),
        differing=differing,
        suspicious=suspicious,
    )


def _noise(log: LinkedLog, pairs: list[tuple[float, float]], measurement: Measurement) -> float:
    """The mean difference that an honest log may have.

    Where two runs ask otherwise, a greedy answer is as much a toss as a sampled one.
    """
    ran = measurement.circumstances
    if not pairs or (log.greedy and ran.generation.temperature == 0 and ran.same_prompts):
        return NOISE
    theirs, ours = (sum(scores) / len(pairs) for scores in zip(*pairs, strict=True))
    return noise_of_sampled(min(ours, 1.0), min(theirs, 1.0))


def _agreement(differing: float | None, compared: int, *, suspicious: bool) -> str:
    if differing is None:
        return "no sample has a score in both"
    if suspicious:
        return f"differs in {differing:.0%} of {compared} samples, more than honest runs do: hardly a log of this model"
    return f"agrees with {1 - differing:.1%} of {compared} samples"


def _why_unused(stopping: Stopping) -> str:
    if stopping.linked is None:
        return "; the run used no log's answers as predictions"
    return "; the run used those of another log as predictions"


def _unused(reading: LinkedLogReading, log: LinkedLog | None, reason: str) -> LinkedLogUse:
    sha256 = log.sha256 if log is not None else None
    return LinkedLogUse(
        url=reading.url, sha256=sha256, used=False, reason=reason, compared=0, differing=None, suspicious=False
    )
