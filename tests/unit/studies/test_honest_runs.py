from __future__ import annotations

import numpy as np
import pytest

from deploy.studies.honest_runs import chances, replayed, verified_by_chance
from specs.judging.decision import CompletedRun
from specs.judging.stopping import JudgedClaim, Stopping
from specs.judging.verdict import Outcome
from tests.support.rows import measurement

DRAWS = 2000


def verdict(claimed: float, right: int, samples: int) -> Outcome:
    claim = JudgedClaim(claim_id="c", claimed=claimed, tolerance=None)
    stopping = Stopping(claims=(claim,), alpha=0.001, minimum_samples=20, maximum_failed_fraction=0.02)
    run = measurement().model_copy(
        update={
            "population": samples,
            "sample_ids": tuple(range(samples)),
            "sample_scores": (1.0,) * right + (0.0,) * (samples - right),
        }
    )
    return CompletedRun(stopping, run, "full").decide(claim).outcome


@pytest.mark.parametrize(("samples", "score", "differing"), [(198, 0.5, None), (198, 0.95, None), (30, 0.9, 0.2)])
def test_what_is_computed_of_honest_claims_is_what_their_verdicts_come_to(
    samples: int, score: float, differing: float | None
) -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(DRAWS):
        claimed = rng.binomial(samples, score) if differing is None else round(score * samples)
        if differing is None:
            right = rng.binomial(samples, score)
        else:
            lost = rng.binomial(claimed, differing * samples / (2 * claimed))
            right = claimed - lost + rng.binomial(samples - claimed, differing * samples / (2 * (samples - claimed)))
        found.append(verdict(claimed / samples, int(right), samples))
    computed = chances(samples, score, differing)
    for part, chance in (
        (1 - found.count(Outcome.VERIFIED) / DRAWS, computed.outside),
        (found.count(Outcome.MISMATCH) / DRAWS, computed.mismatch),
    ):
        assert abs(part - chance) <= 4 * np.sqrt(max(chance, 1 / DRAWS) / DRAWS)


def test_a_claim_at_the_edge_of_its_tolerance_is_verified_half_of_the_time() -> None:
    assert verified_by_chance(14_042, 0.5, 1.0) == pytest.approx(0.5, abs=0.02)
    assert verified_by_chance(1319, 0.5, 1.5) < verified_by_chance(1319, 0.5, 1.25) < 0.5


def test_what_is_replayed_comes_to_what_its_distance_says() -> None:
    rng = np.random.default_rng(1)
    answers = np.repeat([0.0, 1.0], 660)
    for off_by, decision in ((0.0, "verified"), (0.2, "mismatch")):
        rng.shuffle(answers)
        found, same, used = replayed(answers, 0.05, off_by, rng)
        assert (found, same) == (decision, True)
        assert 0 < used < 1
