from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.decision import decide, tolerance_for
from specs.history import from_same_claim
from specs.measurement import Measurement
from specs.policy import TaskRules, VerificationRules
from specs.verdict import Outcome
from tests.support.rows import measurement
from tests.support.stopping import fed, right_or_wrong, rule

RULES = VerificationRules()
N = 2000


def measured(scores: list[float | None], population: int = N) -> Measurement:
    scored = [score for score in scores if score is not None]
    return Measurement.model_validate(
        {
            **dict(measurement()),
            "score": float(np.mean(scored)) if scored else None,
            "standard_error": float(np.std(scored)) / math.sqrt(len(scored)) if len(scored) > 1 else None,
            "population": population,
            "sample_ids": tuple(range(len(scores))),
            "sample_scores": tuple(scores),
        }
    )


def test_with_every_sample_scored_the_score_decides_by_itself() -> None:
    scores: list[float | None] = [*right_or_wrong(100, 40)]
    on_the_edge = decide(0.45, 0.05, measured(scores, 100), RULES)
    beyond = decide(0.4501, 0.05, measured(scores, 100), RULES)
    assert (on_the_edge.outcome, beyond.outcome) == (Outcome.VERIFIED, Outcome.MISMATCH)
    assert on_the_edge.comparison is not None
    assert on_the_edge.comparison.interval is not None
    assert on_the_edge.comparison.interval.low == on_the_edge.comparison.interval.high == pytest.approx(0.4)


@settings(max_examples=40)
@given(claimed=st.floats(0.3, 0.7), seed=st.integers(0, 1000), fractional=st.booleans())
def test_a_run_that_stopped_is_judged_as_it_was_stopped(claimed: float, seed: int, fractional: bool) -> None:
    scores = right_or_wrong(N, 1000, seed)
    if fractional:
        scores = [score / 2 + 0.25 for score in scores]
    decider = fed(rule(claimed, population=N, tolerance=0.05), scores)
    (found,) = decider.findings()
    verdict = decide(claimed, 0.05, measured([*scores[: decider.seen]]), RULES)
    assert verdict.outcome.value == found.decision
    assert verdict.comparison is not None
    assert verdict.comparison.interval == found.interval


def test_a_run_stopped_by_its_predictors_is_judged_with_them() -> None:
    scores = right_or_wrong(N, 1000)
    predictors = from_same_claim(range(N), dict(enumerate(scores)))
    decider = fed(rule(0.5, population=N, predictors=predictors), scores)
    assert decider.seen < N / 4
    stopped = measured([*scores[: decider.seen]])
    assert decide(0.5, 0.02, stopped, RULES, predictors).outcome is Outcome.VERIFIED
    assert decide(0.5, 0.02, stopped, RULES).outcome is Outcome.INCONCLUSIVE


def test_too_few_samples_to_tell_are_inconclusive_and_say_what_is_known() -> None:
    verdict = decide(0.5, 0.02, measured([*right_or_wrong(N, 1000)[:200]]), RULES)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "neither inside nor outside the tolerance" in verdict.reason
    assert "all 2000 samples would give" in verdict.reason


def test_too_many_failures_are_inconclusive_whatever_was_scored() -> None:
    verdict = decide(0.9, 0.02, measured([None] * 30 + [0.0] * 970), RULES)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reason == "30 of 1000 samples failed and have no score"


@pytest.mark.parametrize("scores", [[], [1.0], [1.0] * 19])
def test_next_to_no_samples_are_inconclusive(scores: list[float | None]) -> None:
    verdict = decide(0.0, 0.02, measured(scores), RULES)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "too few to decide" in verdict.reason


def test_the_tolerance_is_policys_or_what_chance_alone_explains() -> None:
    assert tolerance_for(0.5, 100, TaskRules(tolerance=0.03)) == 0.03
    assert tolerance_for(0.5, 100, TaskRules()) == pytest.approx(0.098)
    assert tolerance_for(0.5, 1_000_000, TaskRules()) == 0.01
