from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.judging.decision import CompletedRun
from specs.judging.history import from_same_claim
from specs.judging.stopping import (
    JudgedClaim,
    LinkedTo,
    Population,
    Stopping,
    doubtful_beyond,
    is_guided_by,
    stopping_rule,
    tolerance_for,
)
from specs.judging.stopping_rule import Predictor
from specs.judging.verdict import Outcome, Verdict
from specs.measurement import Measurement
from tests.support.rows import measurement
from tests.support.stopping import fed, right_or_wrong, rule

N = 2000


def judged(
    claimed: float,
    tolerance: float | None,
    run: Measurement,
    predictors: tuple[Predictor, ...] = (),
    held_context: int | None = None,
) -> Verdict:
    claim = JudgedClaim(claim_id="c", claimed=claimed, tolerance=tolerance)
    stopping = Stopping(
        claims=(claim,), alpha=0.001, minimum_samples=20, maximum_failed_fraction=0.02, predictors=predictors
    )
    return CompletedRun(stopping, run, "sequential", held_context).decide(claim)


def population(samples: int = N, epochs: int = 1) -> Population:
    return Population(samples=samples, epochs=epochs, targets_sha256="a" * 64)


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
    scores: list[float | None] = [*right_or_wrong(10_000, 4000)]
    on_the_edge = judged(0.45, 0.05, measured(scores, 10_000))
    beyond = judged(0.4501, 0.05, measured(scores, 10_000))
    assert (on_the_edge.outcome, beyond.outcome) == (Outcome.VERIFIED, Outcome.MISMATCH)
    assert on_the_edge.comparison is not None
    assert on_the_edge.comparison.interval is not None
    assert on_the_edge.comparison.interval.low == on_the_edge.comparison.interval.high == pytest.approx(0.4)
    assert on_the_edge.comparison.doubtful_beyond is None


@pytest.mark.parametrize("halves", range(100, 1000, 150))
def test_a_whole_run_is_decided_by_its_score_however_its_beginning_misled(halves: int) -> None:
    within: list[float | None] = [*[0.0, 1.0] * halves, *[0.0] * (N - 2 * halves)]
    verdict = judged(0.5, 0.02, measured(within))
    assert verdict.outcome is Outcome.MISMATCH, verdict.reason
    outside: list[float | None] = [*[0.0] * halves, *[0.0, 1.0] * (N // 2 - halves), *[1.0] * halves]
    verdict = judged(0.5, 0.02, measured(outside))
    assert verdict.outcome is Outcome.VERIFIED, verdict.reason


@settings(max_examples=50)
@given(st.data())
def test_a_whole_run_is_decided_by_its_score_in_any_order(data: st.DataObject) -> None:
    parts = data.draw(
        st.lists(st.tuples(st.integers(1, 120), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=6)
    )
    scores: list[float | None] = [score for count, score in parts for _ in range(count)]
    claimed = data.draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    verdict = judged(claimed, 0.05, measured(scores, len(scores)))
    if verdict.outcome is not Outcome.INCONCLUSIVE:
        near = abs(float(np.mean([score or 0.0 for score in scores])) - claimed) <= 0.05 + 1e-12
        assert (verdict.outcome is Outcome.VERIFIED) == near, verdict.reason


def test_a_benchmark_too_small_for_its_tolerance_does_not_call_chance_a_mismatch() -> None:
    aime: list[float | None] = [*right_or_wrong(30, 14)]
    near, far = judged(0.6, 0.02, measured(aime, 30)), judged(0.9, 0.02, measured(aime, 30))
    assert (near.outcome, far.outcome) == (Outcome.INCONCLUSIVE, Outcome.MISMATCH)
    assert near.reason == (
        "reproduced 46.67%, 13.33 points from the claimed 60.00%, outside the tolerance of 2.00 points; two honest "
        "runs of 30 samples differ by up to 32.58 points by chance, and the claim is rounded by up to 0.50 points; "
        "a tolerance of 33.09 points would decide"
    )
    assert judged(0.48, 0.02, measured(aime, 30)).outcome is Outcome.VERIFIED
    assert judged(0.6, None, measured(aime, 30)).outcome is Outcome.VERIFIED
    # Neither a higher limit nor the samples that failed are said to decide what they would leave in doubt.
    for cut in (0, 2):
        assert judged(0.6, 0.02, cut_off(measured(aime, 30), cut)).reason == near.reason
    for right, words in ((80, "two honest runs of 198 samples differ"), (93, "with theirs it could be inside")):
        verdict = judged(0.5, 0.02, measured([*right_or_wrong(195, right), *[None] * 3], 198))
        assert (verdict.outcome, words in verdict.reason) == (Outcome.INCONCLUSIVE, True), verdict.reason


def test_a_run_that_stopped_early_tells_chance_from_a_mismatch_too() -> None:
    claim = JudgedClaim(claim_id="c", claimed=0.5, tolerance=0.01)
    stopping = Stopping(claims=(claim,), alpha=0.001, minimum_samples=20, maximum_failed_fraction=0.02)
    for right, outcome in ((200, Outcome.MISMATCH), (970, Outcome.INCONCLUSIVE), (995, Outcome.VERIFIED)):
        scores = right_or_wrong(N, right)
        decider = fed(stopping_rule(stopping, population()), scores)
        verdict = CompletedRun(stopping, measured([*scores[: decider.seen]]), "sequential").decide(claim)
        assert verdict.outcome is outcome
        assert verdict.comparison is not None
        assert verdict.comparison.samples_used <= decider.seen < N
        assert verdict.comparison.doubtful_beyond == pytest.approx(2.576 * math.sqrt(2 * 0.25 / N) + 0.005)


def test_claims_that_share_a_run_are_each_judged_where_they_had_their_answer() -> None:
    scores = right_or_wrong(N, 1000)
    claims = tuple(JudgedClaim(claim_id=str(claimed), claimed=claimed, tolerance=0.05) for claimed in (0.9, 0.5, 0.52))
    stopping = Stopping(claims=claims, alpha=0.001, minimum_samples=20, maximum_failed_fraction=0.02)
    decider = fed(stopping_rule(stopping, population()), scores)
    stopped = measured([*scores[: decider.seen]])
    far, true, near = (CompletedRun(stopping, stopped, "sequential").decide(claim).comparison for claim in claims)
    assert far is not None
    assert true is not None
    assert near is not None
    assert far.samples_used < true.samples_used < near.samples_used == decider.seen < N


@settings(max_examples=40)
@given(claimed=st.floats(0.3, 0.7), seed=st.integers(0, 1000), fractional=st.booleans())
def test_a_run_that_stopped_is_judged_as_it_was_stopped(claimed: float, seed: int, fractional: bool) -> None:
    scores = right_or_wrong(N, 1000, seed)
    if fractional:
        scores = [score / 2 + 0.25 for score in scores]
    decider = fed(rule(claimed, population=N, tolerance=0.05), scores)
    (found,) = decider.findings()
    verdict = judged(claimed, 0.05, measured([*scores[: decider.seen]]))
    assert verdict.outcome.value == found.decision
    assert verdict.comparison is not None
    assert verdict.comparison.interval == found.interval
    assert verdict.comparison.reproduced is not None
    assert found.interval.low <= verdict.comparison.reproduced <= found.interval.high


def test_a_run_stopped_by_its_predictors_is_judged_with_them() -> None:
    scores = right_or_wrong(N, 1000)
    predictors = from_same_claim(range(N), dict(enumerate(scores)))
    decider = fed(rule(0.5, population=N, predictors=predictors), scores)
    assert decider.seen < N / 4
    stopped = measured([*scores[: decider.seen]])
    assert judged(0.5, 0.02, stopped, predictors).outcome is Outcome.VERIFIED
    assert judged(0.5, 0.02, stopped).outcome is Outcome.INCONCLUSIVE


def test_too_few_samples_to_tell_are_inconclusive_and_say_what_is_known() -> None:
    verdict = judged(0.5, 0.02, measured([*right_or_wrong(N, 1000)[:200]]))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "neither inside nor outside the tolerance" in verdict.reason
    assert "after 200 of 2000 samples; all samples would give" in verdict.reason


def test_too_many_failures_are_inconclusive_whatever_was_scored() -> None:
    verdict = judged(0.9, 0.02, measured([None] * 30 + [0.0] * 970))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reason == "30 of 1000 samples failed and have no score"


def of_epochs(
    epochs: int, reducer: str, scores: list[float | None], population: int, temperature: float = 0.7
) -> Measurement:
    run = measured(scores, population)
    generation = run.circumstances.generation.model_copy(update={"temperature": temperature})
    ran = run.circumstances.model_copy(update={"epochs": epochs, "epoch_reducer": reducer, "generation": generation})
    return run.model_copy(update={"circumstances": ran})


@pytest.mark.parametrize(("temperature", "outcome"), [(0.7, Outcome.MISMATCH), (0.0, Outcome.INCONCLUSIVE)])
def test_greedy_epochs_are_one_answer_and_make_no_mismatch_of_an_honest_claim(
    temperature: float, outcome: Outcome
) -> None:
    # 12 points off: beyond what a run of four answers to each of 198 questions and one of a single one differ by, and
    # within what two of a single one do.
    run = of_epochs(4, "pass_at_1", [*right_or_wrong(198, 75)], 198, temperature)
    assert judged(0.5, None, run).outcome is outcome


@pytest.mark.parametrize(
    ("failed", "score", "outcome"),
    [
        # 30 questions of 16 answers, one of which has no score.
        (1, 0.2, Outcome.MISMATCH),
        (1, 0.75, Outcome.VERIFIED),
        # 13.9 points off and within the 14.3; with the one it may be 16.1.
        (1, 0.661, Outcome.INCONCLUSIVE),
        (1, 0.68, Outcome.VERIFIED),
        # Nine of 30 samples are 2 % of 480 answers, if each lacks one.
        (9, 0.02, Outcome.MISMATCH),
        (9, 0.8, Outcome.INCONCLUSIVE),
        (10, 0.02, Outcome.INCONCLUSIVE),
    ],
)
def test_one_answer_of_many_without_a_score_leaves_a_claim_to_be_decided(
    failed: int, score: float, outcome: Outcome
) -> None:
    scores: list[float | None] = [None] * failed + [score] * (30 - failed)
    verdict = judged(0.8, None, of_epochs(16, "mean", scores, 30))
    assert verdict.outcome is outcome, verdict.reason
    if outcome is Outcome.INCONCLUSIVE:
        assert f"{failed} of 30 samples failed and have no score" in verdict.reason
    # Of one answer each, or where one may be the one that counts, it is a thirtieth of all.
    for epochs, reducer in ((1, "mean"), (16, "max")):
        assert judged(0.8, None, of_epochs(epochs, reducer, scores, 30)).outcome is Outcome.INCONCLUSIVE


@given(
    scores=st.lists(st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=20, max_size=60),
    claimed=st.floats(0, 1),
    tolerance=st.floats(0.01, 0.3),
)
def test_nobody_gets_a_badge_by_which_answers_fail(
    scores: list[float | None], claimed: float, tolerance: float
) -> None:
    run = of_epochs(16, "mean", scores, len(scores))
    if run.failed <= 0.02 * len(scores) or judged(claimed, tolerance, run).outcome is not Outcome.VERIFIED:
        return
    for theirs in (0.0, 1.0):
        had_they_scored = float(np.mean([theirs if score is None else score for score in scores]))
        assert abs(had_they_scored - claimed) <= tolerance + 1e-9


def test_a_run_that_stops_early_is_not_let_off_for_its_epochs() -> None:
    scores: list[float | None] = [None] * 30 + [0.0] * 970
    assert judged(0.9, 0.02, of_epochs(16, "mean", scores, N)).outcome is Outcome.INCONCLUSIVE
    rule_of_many = stopping_rule(
        Stopping(
            claims=(JudgedClaim(claim_id="c", claimed=0.9, tolerance=0.02),),
            alpha=0.001,
            minimum_samples=20,
            maximum_failed_fraction=0.02,
        ),
        population(epochs=16),
    )
    assert not fed(rule_of_many, scores).settled


@pytest.mark.parametrize("right", [1000, 400])
def test_a_score_that_may_be_one_of_thoughts_decides_nothing(right: int) -> None:
    run = measured([*right_or_wrong(1000, right)], 1000)
    assert judged(1.0, 0.05, run).outcome in (Outcome.VERIFIED, Outcome.MISMATCH)
    few = run.model_copy(update={"thoughts": 20})
    assert judged(1.0, 0.05, few).outcome is judged(1.0, 0.05, run).outcome
    verdict = judged(1.0, 0.05, run.model_copy(update={"thoughts": 21}))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "21 of 1000 answers begin with the model's thoughts" in verdict.reason
    assert "reasoning_parser" in verdict.reason


def cut_off(run: Measurement, truncated: int, source: str = "policy") -> Measurement:
    ran = run.circumstances
    generation = ran.generation.model_copy(update={"max_tokens": 64, "sources": {"max_tokens": source}})
    circumstances = ran.model_copy(update={"generation": generation})
    return run.model_copy(update={"circumstances": circumstances, "truncated": truncated})


@pytest.mark.parametrize("samples", [1000, 300])
def test_what_the_farm_itself_cut_off_makes_no_mismatch(samples: int) -> None:
    run = measured(list(right_or_wrong(1000, 400)[:samples]), 1000)
    assert judged(0.7, 0.05, run).outcome is Outcome.MISMATCH
    verdict = judged(0.7, 0.05, cut_off(run, 3 * samples // 10))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert f"{3 * samples // 10} of {samples} answers were cut off at the max_tokens 64 of the farm's" in verdict.reason


@pytest.mark.parametrize(
    ("right", "claimed", "outcome"),
    [
        (10_100, 0.500, Outcome.VERIFIED),
        # 10,400 of 19,600 are 53.1 %, all of 20,000 would be 52.0 % to 54.0 %.
        (10_400, 0.500, Outcome.INCONCLUSIVE),
        (10_400, 0.560, Outcome.INCONCLUSIVE),
        (10_400, 0.499, Outcome.MISMATCH),
        (10_400, 0.561, Outcome.MISMATCH),
    ],
)
def test_samples_without_a_score_make_no_mismatch(right: int, claimed: float, outcome: Outcome) -> None:
    run = measured([*right_or_wrong(19_600, right), *[None] * 400], 20_000)
    verdict = judged(claimed, 0.0201, run)
    assert verdict.outcome is outcome
    words = "400 of 20000 samples failed and have no score, and with theirs it could be inside"
    assert (words in verdict.reason) == (outcome is Outcome.INCONCLUSIVE)


def test_what_could_bring_a_score_into_doubt_makes_no_mismatch_either() -> None:
    # By the default tolerance of 198 questions, 7 points, differences up to 12.9 points are in doubt.
    failed = measured([*right_or_wrong(195, 71), *[None] * 3], 198)
    assert judged(0.5, None, measured([*right_or_wrong(198, 71)], 198)).outcome is Outcome.MISMATCH
    verdict = judged(0.5, None, failed)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "with theirs it could be in doubt" in verdict.reason
    short = measured([*right_or_wrong(1319, 702)], 1319)
    assert judged(0.6, None, short).outcome is Outcome.MISMATCH
    verdict = judged(0.6, None, cut_off(short, 52))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "were all of those right it would be in doubt" in verdict.reason


def test_a_mismatch_stays_one_where_the_cut_cannot_be_why() -> None:
    run = measured([*right_or_wrong(1000, 400)], 1000)
    assert judged(0.7, 0.05, cut_off(run, 200)).outcome is Outcome.MISMATCH, "too few to close the gap"
    assert judged(0.1, 0.05, cut_off(run, 600)).outcome is Outcome.MISMATCH, "more tokens make no lower score"
    for source in ("spec", "generation_config", "vllm_default"):
        assert judged(0.7, 0.05, cut_off(run, 300, source)).outcome is Outcome.MISMATCH, "a limit of others"
    assert judged(0.4, 0.05, cut_off(run, 300)).outcome is Outcome.VERIFIED


def test_what_a_context_shorter_than_the_models_cut_off_makes_no_mismatch() -> None:
    run = cut_off(measured([*right_or_wrong(1000, 400)], 1000), 300, "vllm_default")
    generation = run.circumstances.generation.model_copy(update={"max_tokens": None})
    run = run.model_copy(update={"circumstances": run.circumstances.model_copy(update={"generation": generation})})
    assert judged(0.7, 0.05, run).outcome is Outcome.MISMATCH, "the model has no more"
    verdict = judged(0.7, 0.05, run, held_context=16_384)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "300 of 1000 answers were cut off at the 16384 tokens of context that the farm gave" in verdict.reason


def test_a_context_that_ends_before_the_limit_of_tokens_makes_no_mismatch() -> None:
    run = cut_off(measured([*right_or_wrong(1319, 500)], 1319), 400, "spec")
    assert judged(0.6, None, run, held_context=16_384).outcome is Outcome.MISMATCH, "cut off by the spec's own limit"
    by_context = run.model_copy(update={"cut_by_context": 400})
    verdict = judged(0.6, None, by_context, held_context=16_384)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "400 of 1319 answers were cut off at the 16384 tokens of context that the farm gave" in verdict.reason
    assert judged(0.6, None, by_context).outcome is Outcome.MISMATCH, "the model has no more"


def test_of_a_difference_in_doubt_it_is_said_what_was_known_when_both_were() -> None:
    claim = JudgedClaim(claim_id="c", claimed=0.45, tolerance=0.01)
    stopping = Stopping(claims=(claim,), alpha=0.001, minimum_samples=20, maximum_failed_fraction=0.02)
    of_both = stopping_rule(stopping, population(12_032))
    stopped_early = 0
    for seed in range(10):
        scores = right_or_wrong(12_032, round(0.4375 * 12_032), seed)
        seen = fed(of_both, scores).seen
        verdict = CompletedRun(stopping, measured(list(scores[:seen]), 12_032), "sequential").decide(claim)
        found = verdict.comparison
        assert verdict.outcome is Outcome.INCONCLUSIVE
        assert found is not None
        assert found.interval is not None
        if seen < 12_032:
            stopped_early += 1
            assert found.samples_used == seen
            # Outside the tolerance, as is said, and inside of what honest runs differ by.
            assert 0.45 - (found.doubtful_beyond or 0) <= found.interval.low
            assert found.interval.high <= 0.44
    assert stopped_early > 3


@pytest.mark.parametrize(
    ("reducer", "outcome"),
    [("mean", Outcome.MISMATCH), ("pass_at_1", Outcome.MISMATCH), ("max", Outcome.INCONCLUSIVE)],
)
def test_one_answer_that_was_cut_off_can_be_the_one_that_counts(reducer: str, outcome: Outcome) -> None:
    # One of five in each sample; with `max` it alone could have every sample right.
    run = cut_off(measured([*right_or_wrong(1000, 0)], 1000), 1000)
    ran = run.circumstances.model_copy(update={"epochs": 5, "epoch_reducer": reducer})
    assert judged(0.9, 0.05, run.model_copy(update={"circumstances": ran})).outcome is outcome


def test_a_run_without_any_score_is_inconclusive() -> None:
    verdict = judged(0.9, 0.02, measured([None] * N))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reason == "2000 of 2000 samples failed and have no score"
    assert verdict.comparison is not None
    assert (verdict.comparison.reproduced, verdict.comparison.interval) == (None, None)


@pytest.mark.parametrize("scores", [[], [1.0], [1.0] * 19])
def test_next_to_no_samples_are_inconclusive(scores: list[float | None]) -> None:
    verdict = judged(0.0, 0.02, measured(scores))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "too few to decide" in verdict.reason


def test_the_tolerance_is_policys_or_what_chance_alone_explains() -> None:
    claim = JudgedClaim(claim_id="c", claimed=0.5, tolerance=None)
    assert tolerance_for(claim.model_copy(update={"tolerance": 0.03}), 100) == 0.03
    assert tolerance_for(claim, 100) == pytest.approx(0.098)
    assert tolerance_for(claim, 1_000_000) == 0.01


def test_measured_noise_makes_a_small_benchmark_decidable_and_our_epochs_only_half_of_it() -> None:
    claim = JudgedClaim(claim_id="c", claimed=0.5, tolerance=0.05)
    assert doubtful_beyond(claim, population(100)) == pytest.approx(2.576 * math.sqrt(2) * 0.05 + 0.005)
    # The claim's own chance stays, however often the farm asks.
    assert doubtful_beyond(claim, population(100, epochs=4)) == pytest.approx(2.576 * math.sqrt(1.25) * 0.05 + 0.005)
    assert doubtful_beyond(claim.model_copy(update={"spread": 0.015}), population(100)) is None
    assert doubtful_beyond(claim.model_copy(update={"spread": 0.05}), population(100)) == pytest.approx(0.1338)


def test_a_difference_in_doubt_decides_nothing_by_the_default_tolerance_either() -> None:
    # 69.3 claimed on 198 questions: 6.4 points are within what one run differs by, 11.9 within what two do.
    for right, outcome in ((125, Outcome.VERIFIED), (124, Outcome.INCONCLUSIVE), (114, Outcome.INCONCLUSIVE)):
        assert judged(0.693, None, measured([*right_or_wrong(198, right)], 198)).outcome is outcome, right
    assert judged(0.693, None, measured([*right_or_wrong(198, 113)], 198)).outcome is Outcome.MISMATCH


def test_a_difference_and_its_tolerance_are_told_apart_in_words() -> None:
    run = measured([*right_or_wrong(20_000, 10_000)], 20_000)
    hair = judged(0.520001, 0.02, run)
    assert hair.outcome is Outcome.MISMATCH
    assert "2.0001 points from the claimed 52.00%, outside the tolerance of 2.0000 points" in hair.reason
    edge = judged(0.52, 0.02, run)
    assert edge.outcome is Outcome.VERIFIED
    assert "2.00 points from the claimed 52.00%, within the tolerance of 2.00 points" in edge.reason


@given(samples=st.integers(1, 400), other=st.integers(1, 400), same_targets=st.booleans(), linked=st.booleans())
def test_predictors_that_are_not_about_these_samples_are_left_out(
    samples: int, other: int, same_targets: bool, linked: bool
) -> None:
    predictors = tuple(Predictor(values=(0.5,) * other, slope=slope) for slope in (1.0, 0.0))
    stopping = Stopping(
        claims=(JudgedClaim(claim_id="c", claimed=0.5, tolerance=None),),
        alpha=0.001,
        minimum_samples=20,
        maximum_failed_fraction=0.02,
        predictors=predictors,
        linked=LinkedTo(log_sha256="c" * 64, targets_sha256=("a" if same_targets else "b") * 64) if linked else None,
    )
    used = stopping_rule(stopping, population(samples)).predictors
    assert len(used) == (0 if samples != other else 1 if linked and not same_targets else 2)
    guided = is_guided_by(stopping, population(samples), "c" * 64)
    assert guided == (samples == other and linked and same_targets)
    assert not is_guided_by(stopping, population(samples), "d" * 64)


@pytest.mark.parametrize("right", range(4))
def test_a_tolerance_that_every_score_meets_proves_nothing(right: int) -> None:
    scores: list[float | None] = [float(n < right) for n in range(3)]
    verdict = judged(0.5, None, measured(scores, 3))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert (
        verdict.reason == "with a tolerance of 56.58 points every score there is would match, so none proves anything"
    )
