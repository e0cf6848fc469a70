from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.judging.sequential import SequentialDecider, full_run_decision
from specs.judging.stopping_rule import Predictor
from tests.support.stopping import fed, finding, right_or_wrong, rule

N = 4000
scores_of_any_kind = st.sampled_from(["right or wrong", "fractions", "fractions late", "with predictor", "some failed"])


def run_of(kind: str, seed: int, size: int = 600) -> tuple[list[float | None], tuple[Predictor, ...]]:
    rng = np.random.default_rng(seed)
    ease = rng.random(size)
    scores: list[float | None] = [float(score) for score in rng.random(size) < 0.3 + 0.4 * ease]
    predictors = (Predictor(values=tuple(ease.tolist()), slope=0.5),) if kind == "with predictor" else ()
    if kind == "fractions":
        scores = [float(score) for score in rng.integers(0, 5, size) / 4]
    if kind == "fractions late":
        scores[150] = 0.5
    if kind == "some failed":
        scores[60] = scores[61] = scores[300] = None
    return scores, predictors


def test_a_true_claim_is_verified_from_part_of_the_samples() -> None:
    found = finding(rule(0.6, population=N, tolerance=0.04), right_or_wrong(N, 2400))
    assert found.decision == "verified"
    assert found.samples < 0.6 * N


@pytest.mark.parametrize("claimed", [0.2, 0.99])
def test_the_farther_off_a_claim_is_the_sooner_it_is_refuted(claimed: float) -> None:
    near = finding(rule(0.7, population=N), right_or_wrong(N, 2400))
    far = finding(rule(claimed, population=N), right_or_wrong(N, 2400))
    assert near.decision == far.decision == "mismatch"
    assert far.samples < near.samples / 2
    assert far.samples < 0.02 * N


@given(kind=scores_of_any_kind, seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 600), max_size=8))
@settings(max_examples=50)
def test_how_scores_arrive_changes_nothing(kind: str, seed: int, cuts: list[int]) -> None:
    scores, predictors = run_of(kind, seed)
    stopping = rule(0.5, 0.65, population=600, tolerance=0.07, predictors=predictors)
    at_once = fed(stopping, scores)
    in_parts = SequentialDecider(stopping)
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 600], strict=True):
        in_parts.feed(scores[start:end])
    assert in_parts.seen == at_once.seen
    assert in_parts.findings() == at_once.findings()


def test_the_standard_error_is_that_of_the_samples_whatever_predicted_them() -> None:
    # A log that agrees with the run on all of them leaves nothing over, and is no better a benchmark for it.
    scores = right_or_wrong(600, 300)
    predictors = (Predictor(values=tuple(scores), slope=1.0),)
    found = finding(rule(0.5, population=600, predictors=predictors), scores)
    seen = np.array(scores[: found.samples])
    assert 1 < found.samples < 600
    assert found.standard_error == pytest.approx(seen.std(ddof=1) / np.sqrt(len(seen)))


@given(kind=scores_of_any_kind, seed=st.integers(0, 10_000), claimed=st.floats(0, 1))
def test_a_run_of_all_samples_ends_with_the_direct_comparison(kind: str, seed: int, claimed: float) -> None:
    scores, predictors = run_of(kind, seed, size=310)
    stopping = rule(claimed, population=310, tolerance=0.05, minimum_samples=310, predictors=predictors)
    decider = fed(stopping, scores)
    (found,) = decider.findings()
    mean = float(np.mean([score for score in scores if score is not None]))
    assert decider.settled
    assert found.decision == full_run_decision(mean, claimed, 0.05)
    assert found.interval.low == found.interval.high == pytest.approx(mean)


@given(size=st.integers(1, 12), right=st.integers(0, 12), claimed=st.floats(0, 1), tolerance=st.floats(0.001, 1))
def test_the_smallest_benchmarks_get_their_answer(size: int, right: int, claimed: float, tolerance: float) -> None:
    right = min(size, right)
    found = finding(rule(claimed, population=size, tolerance=tolerance), right_or_wrong(size, right))
    assert found.decision == full_run_decision(right / size, claimed, tolerance)


@pytest.mark.parametrize(
    ("scores", "decision"),
    [([1.0] * 30 + [0.0] * 30, "mismatch"), ([0.0] * 55, "verified")],
    ids=["what is left cannot save it", "what is left cannot spoil it"],
)
def test_a_run_stops_when_the_samples_left_cannot_change_the_answer(scores: list[float], decision: str) -> None:
    # Tests as timid as floats allow: only arithmetic is left to decide.
    stopping = rule(0.05, population=60, tolerance=0.06, alpha=1e-300)
    found = finding(stopping, scores)
    assert found.decision == decision
    assert found.samples < 60


def test_claims_that_share_a_run_stop_it_when_each_has_its_answer() -> None:
    scores = right_or_wrong(N, 2400)
    alone = finding(rule(0.9, population=N, tolerance=0.04), scores)
    decider = fed(rule(0.9, 0.6, population=N, tolerance=0.04), scores)
    inflated, true = decider.findings()
    assert (inflated.decision, true.decision) == ("mismatch", "verified")
    assert inflated.samples == alone.samples < true.samples == decider.seen < N


@given(kind=scores_of_any_kind, seed=st.integers(0, 20))
@settings(max_examples=50)
def test_claims_that_say_the_same_have_the_same_answer_as_one(kind: str, seed: int) -> None:
    scores, predictors = run_of(kind, seed)
    twice = fed(rule(0.5, 0.75, 0.5, 0.75, population=600, predictors=predictors), scores)
    once = fed(rule(0.5, 0.75, population=600, predictors=predictors), scores)
    assert twice.findings() == (*once.findings(), *once.findings())
    assert twice.seen == once.seen


def test_scores_that_come_after_the_answer_change_nothing() -> None:
    decider = fed(rule(0.9, population=N), right_or_wrong(N, 2400)[:500])
    before = decider.findings()
    assert decider.settled
    decider.feed([1.0] * N)
    assert decider.findings() == before


def test_nothing_is_decided_before_the_minimum_of_samples() -> None:
    scores = [0.0] * 200
    stopping = rule(0.9, population=200, minimum_samples=60)
    assert finding(stopping, scores[:59]).decision == "undecided"
    assert finding(stopping, scores[:60]).samples == 60


def test_nothing_is_decided_while_too_many_samples_have_failed() -> None:
    stopping = rule(0.9, population=1000)
    failing: Sequence[float | None] = [None, *[0.0] * 48]
    assert finding(stopping, failing).decision == "undecided"
    assert finding(stopping, [*failing, 0.0]).samples == 50


def test_a_run_in_which_too_many_failed_ends_undecided() -> None:
    decider = fed(rule(0.9, population=1000), [None] * 30 + [0.0] * 970)
    assert decider.settled
    assert decider.findings()[0].decision == "undecided"


@pytest.mark.parametrize("score", [1.5, -0.1, float("inf")])
def test_a_score_outside_its_range_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match="not between 0 and 1"):
        SequentialDecider(rule(0.5, population=50)).feed([0.0, score])


def test_more_scores_than_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="more scores than"):
        SequentialDecider(rule(0.5, population=3)).feed([0.0] * 4)


def test_a_predictor_that_lacks_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="a value for every sample"):
        rule(0.5, population=4, predictors=(Predictor(values=(0.5,), slope=1.0),))


@given(kind=scores_of_any_kind, seed=st.integers(0, 10_000), seen=st.integers(1, 599), claimed=st.floats(0, 1))
def test_the_interval_agrees_with_the_decision(kind: str, seed: int, seen: int, claimed: float) -> None:
    scores, predictors = run_of(kind, seed)
    found = finding(rule(claimed, population=600, tolerance=0.06, predictors=predictors), scores[:seen])
    low, high = found.interval.low - claimed, found.interval.high - claimed
    assert low <= high
    if found.decision == "verified":
        assert low >= -0.06 - 1e-9
        assert high <= 0.06 + 1e-9
    if found.decision == "mismatch":
        assert high <= -0.06 + 1e-9 or low >= 0.06 - 1e-9


def test_scores_between_right_and_wrong_are_decided_sooner_where_they_vary_less() -> None:
    rng = np.random.default_rng(3)
    steady = [float(score) for score in rng.integers(2, 5, N) / 5]
    claimed = float(np.mean(steady))
    found = finding(rule(claimed, population=N), steady)
    coin = finding(rule(claimed, population=N), right_or_wrong(N, round(claimed * N)))
    assert found.decision == coin.decision == "verified"
    assert found.samples < coin.samples / 2


@given(st.data())
def test_all_scores_at_once_say_what_they_say_one_after_the_other(data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.sampled_from([0.0, 1.0, 0.5, None]), min_size=1, max_size=80))
    stopping = rule(0.2, 0.5, 1.0, population=len(scores), tolerance=0.1, minimum_samples=len(scores))
    at_once = SequentialDecider(stopping)
    at_once.take_all(scores)
    assert at_once.findings() == fed(stopping, scores).findings()
    assert (at_once.seen, at_once.settled) == (len(scores), True)
    with pytest.raises(ValueError, match="not those of all"):
        at_once.take_all(scores)
