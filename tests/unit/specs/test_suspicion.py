"""Honest noise is not suspicious; answers that were made up are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from specs.judging.stopping import JudgedClaim, LinkedTo, Stopping
from specs.judging.stopping_rule import Predictor
from specs.judging.suspicion import NOISE, SIGNIFICANCE, chance_of, is_suspicious, noise_of_sampled
from specs.judging.verdict import LinkedLogUse
from specs.logs.linked_log import LinkedLog, LinkedLogReading, held_against
from specs.measurement import Measurement
from tests.support.rows import measurement

N = 1000
URL = "https://hub.test/o/m/blob/main/log.eval"


def measured(scores: list[float | None], temperature: float = 0.0, *, same_prompts: bool | None = True) -> Measurement:
    """A run that counted samples N, N - 1, …, in this order."""
    run = measurement()
    generation = run.circumstances.generation.model_copy(update={"temperature": temperature})
    ran = {"generation": generation, "same_prompts": same_prompts}
    found: dict[str, Any] = {
        "population": N,
        "sample_ids": tuple(range(N, N - len(scores), -1)),
        "sample_scores": tuple(scores),
        "circumstances": run.circumstances.model_copy(update=ran),
    }
    return run.model_copy(update=found)


def log_of(scores: list[float], *, greedy: bool = True) -> LinkedLog:
    """A log in which sample N has the first of these scores."""
    whole = tuple(scores[::-1])
    return LinkedLog(sha256="b" * 64, scores=whole, targets_sha256="a" * 64, greedy=greedy)


def stopping(linked: LinkedTo | None = None) -> Stopping:
    predictors = (Predictor(values=(0.5,) * N, slope=1.0),) if linked is not None else ()
    return Stopping(
        claims=(JudgedClaim(claim_id="c", claimed=0.5, tolerance=0.05),),
        alpha=0.001,
        minimum_samples=20,
        maximum_failed_fraction=0.02,
        predictors=predictors,
        linked=linked,
    )


GUIDED = stopping(LinkedTo(log_sha256="b" * 64, targets_sha256="a" * 64))


def held(log: LinkedLog | None, run: Measurement, by: Stopping = GUIDED) -> LinkedLogUse:
    return held_against(LinkedLogReading(url=URL, log=log, reason="" if log else "too large"), by, run)


def flipped(scores: list[float], chance: float, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    return [1 - score if rng.random() < chance else score for score in scores]


def coins(chance: float, seed: int = 0) -> list[float]:
    return [float(drawn < chance) for drawn in np.random.default_rng(seed).random(N)]


def test_the_tail_is_that_of_the_binomial_distribution() -> None:
    for count, hits in ((5, 5), (20, 11), (100, 31), (400, 90)):
        exact = sum(
            math.comb(count, each) * NOISE**each * (1 - NOISE) ** (count - each) for each in range(hits, count + 1)
        )
        assert chance_of([1.0] * hits + [0.0] * (count - hits), NOISE) == pytest.approx(exact)
    assert chance_of([1.0] * 15 + [0.0] * 85, NOISE) == 1.0


def test_the_bound_for_fractional_scores_is_no_smaller_than_what_coins_do() -> None:
    for hits in (20, 31, 60):
        whole = [1.0] * hits + [0.0] * (100 - hits)
        fractional = [hits / 100 + 0.1, hits / 100 - 0.1] * 50
        assert chance_of(whole, NOISE) <= chance_of(fractional, NOISE) <= 1
    assert chance_of([0.999] * 300, NOISE) < 1e-100


def test_an_honest_log_is_hardly_ever_called_suspicious() -> None:
    rng = np.random.default_rng(7)
    runs = [is_suspicious((rng.random(200) < NOISE).astype(float).tolist(), NOISE) for _ in range(4000)]
    assert sum(runs) <= 4000 * SIGNIFICANCE * 5


def test_a_log_that_differs_by_honest_noise_agrees() -> None:
    ours = coins(0.5)
    use = held(log_of(flipped(ours, 0.03, 1)), measured(list(ours[:400])))
    assert (use.used, use.suspicious, use.compared) == (True, False, 400)
    assert use.differing == pytest.approx(0.03, abs=0.02)
    assert use.differing is not None
    assert use.reason == f"agrees with {1 - use.differing:.1%} of 400 samples"


def test_a_made_up_log_is_suspicious_and_says_by_how_much_it_differs() -> None:
    ours = coins(0.5)
    use = held(log_of(coins(0.5, seed=9)), measured(list(ours[:120])))
    assert use.suspicious
    assert use.differing is not None
    said = f"differs in {use.differing:.0%} of 120 samples, more than honest runs do: hardly a log of this model"
    assert use.reason == said


def test_a_handful_of_samples_accuses_nobody() -> None:
    ours = coins(0.5)
    log = log_of([1 - score for score in ours])
    assert not held(log, measured(list(ours[:19]))).suspicious
    assert held(log, measured(list(ours[:20]))).suspicious


@pytest.mark.parametrize(("greedy", "temperature"), [(False, 0.0), (True, 0.6)])
def test_sampled_answers_may_differ_as_much_as_their_scores_allow(greedy: bool, temperature: float) -> None:
    ours, theirs = coins(0.5), coins(0.5, seed=9)
    assert not held(log_of(theirs, greedy=greedy), measured(list(ours), temperature)).suspicious
    # A score of 90 % where ours is 40 % is not explained by sampling.
    false = held(log_of(coins(0.9, seed=9), greedy=greedy), measured(list(coins(0.4)), temperature))
    assert false.suspicious


@pytest.mark.parametrize("same_prompts", [False, None])
@pytest.mark.parametrize("known", [0.02, 0.3])
def test_a_greedy_model_that_is_asked_with_its_choices_in_another_order_may_differ_as_much(
    known: float, same_prompts: bool | None
) -> None:
    """It knows a part, and says the same letter of four to all else."""
    rng = np.random.default_rng(3)
    knows = rng.random(N) < known
    ours, theirs = (np.where(knows, 1.0, rng.integers(4, size=N) == 0).astype(float).tolist() for _ in range(2))
    assert not held(log_of(theirs), measured(ours, same_prompts=same_prompts)).suspicious
    assert held(log_of(theirs), measured(ours)).suspicious, "as it would be of the same questions"
    assert held(log_of(coins(0.9)), measured(ours, same_prompts=same_prompts)).suspicious


def test_what_sampling_explains_is_most_in_the_middle() -> None:
    assert noise_of_sampled(0.5, 0.5) == 0.5
    assert noise_of_sampled(0.9, 0.9) == pytest.approx(0.18)
    assert noise_of_sampled(0.99, 0.97) == NOISE


def test_samples_without_a_score_of_ours_are_not_compared() -> None:
    ours = coins(0.5)
    use = held(log_of(ours), measured([None, *ours[1:50]]))
    assert (use.compared, use.differing) == (49, 0.0)
    nothing = held(log_of(ours), measured([None]))
    assert (nothing.compared, nothing.differing, nothing.suspicious) == (0, None, False)
    assert nothing.reason == "no sample has a score in both"


def test_a_log_that_did_not_guide_the_run_says_so() -> None:
    ours = coins(0.5)
    use = held(log_of(ours), measured(list(ours)), stopping())
    assert (use.used, use.suspicious) == (False, False)
    assert use.reason == "agrees with 100.0% of 1000 samples; the run used no log's answers as predictions"
    another = stopping(LinkedTo(log_sha256="c" * 64, targets_sha256="a" * 64))
    assert held(log_of(ours), measured(list(ours)), another).reason.endswith("used those of another log as predictions")


def test_a_log_that_could_not_be_read_or_is_of_other_samples_is_not_compared() -> None:
    ours = coins(0.5)
    unread = held(None, measured(list(ours)))
    assert (unread.used, unread.sha256, unread.reason, unread.compared) == (False, None, "too large", 0)
    short = held(log_of(ours[:10]), measured(list(ours)))
    assert (short.used, short.reason) == (False, "it has 10 samples, the dataset 1000")
    other = held(log_of(ours).model_copy(update={"targets_sha256": "d" * 64}), measured(list(ours)))
    assert (other.used, other.reason) == (False, "its samples have other targets than those of this run")
