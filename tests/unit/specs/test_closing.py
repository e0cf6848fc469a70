from __future__ import annotations

import random

import pytest

from specs.judging.closing import MOST_POINTS, MOST_SAMPLES_SUMMED, closing, looks
from specs.judging.decision import CompletedRun
from specs.judging.sequential import SequentialDecider
from specs.judging.stopping import JudgedClaim, Population, Stopping, stopping_rule
from specs.judging.verdict import Outcome
from specs.measurement import Measurement
from tests.support.rows import measurement


def judged(claimed: float = 0.7) -> tuple[JudgedClaim, Stopping]:
    claim = JudgedClaim(claim_id="c", claimed=claimed, tolerance=0.05)
    other = JudgedClaim(claim_id="d", claimed=0.2, tolerance=0.05)
    return claim, Stopping(claims=(other, claim), alpha=0.001, minimum_samples=20, maximum_failed_fraction=0.02)


def measured(stopping: Stopping, population: int, truth: float) -> Measurement:
    """As a run that stops by itself measures it."""
    scores: list[float | None] = [1.0] * round(truth * population)
    scores += [0.0] * (population - len(scores))
    random.Random(3).shuffle(scores)  # noqa: S311 - a test
    found = measurement()
    decider = SequentialDecider(
        stopping_rule(stopping, Population(samples=population, epochs=1, targets_sha256=found.targets_sha256))
    )
    decider.feed(scores)
    kept = scores[: decider.seen]
    changed = {"population": population, "sample_scores": tuple(kept), "sample_ids": tuple(range(len(kept)))}
    return found.model_copy(update=changed)


@pytest.mark.parametrize(
    ("truth", "outcome"),
    [(0.7, Outcome.VERIFIED), (0.5, Outcome.MISMATCH), (0.72, Outcome.VERIFIED), (0.643, Outcome.INCONCLUSIVE)],
)
def test_the_last_point_is_what_the_claim_was_judged_by(truth: float, outcome: Outcome) -> None:
    claim, stopping = judged()
    found = measured(stopping, 900, truth)
    verdict = CompletedRun(stopping, found, "sequential").decide(claim)
    told = closing(claim, stopping, found)
    assert verdict.outcome is outcome
    assert verdict.comparison is not None
    last = told.points[-1]
    assert told.decision == ("undecided" if outcome is Outcome.INCONCLUSIVE else outcome.value)
    assert last.samples == told.decided_after == verdict.comparison.samples_used
    assert last.finding.interval == verdict.comparison.interval
    assert last.finding.estimate == verdict.comparison.reproduced


def test_points_only_close_in() -> None:
    claim, stopping = judged()
    told = closing(claim, stopping, measured(stopping, 900, 0.7))
    counts = [point.samples for point in told.points]
    assert counts == sorted(set(counts))
    first, last = told.points[0].finding.interval, told.points[-1].finding.interval
    assert first.low <= last.low <= last.high <= first.high


def test_a_run_of_every_sample_ends_in_a_point() -> None:
    claim = JudgedClaim(claim_id="c", claimed=0.5, tolerance=0.02)
    stopping = Stopping(claims=(claim,), alpha=0.001, minimum_samples=20, maximum_failed_fraction=0.02)
    scores = tuple(float(number % 2) for number in range(200))
    full = measurement().model_copy(
        update={"population": 200, "sample_scores": scores, "sample_ids": tuple(range(200))}
    )
    told = closing(claim, stopping, full)
    assert (told.decision, told.decided_after) == ("verified", 200)
    assert told.points[-1].finding.interval.low == told.points[-1].finding.interval.high == 0.5


@pytest.mark.parametrize("samples", [0, 1, 7, 200, 201, 5000, 12_032, 4_000_000])
def test_looks_are_bounded_and_end_at_the_end(samples: int) -> None:
    found = looks(samples, MOST_SAMPLES_SUMMED)
    assert len(found) <= MOST_POINTS + 1
    assert sum(found) <= max(2 * MOST_SAMPLES_SUMMED, 9 * samples)
    assert list(found) == sorted(set(found))
    assert samples == 0 or found[-1] == samples
