"""What is said before a run, held against runs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from specs.judging.decision import CompletedRun
from specs.judging.forecast import Forecast, Foreseen, forecast, in_short, samples_if_true
from specs.judging.sequential import SequentialDecider
from specs.judging.stopping import JudgedClaim, Population, Stopping, stopping_rule
from specs.judging.verdict import Outcome
from tests.support.rows import measurement
from tests.support.stopping import right_or_wrong

RUNS = 40


def foreseen(**fields: Any) -> Foreseen:
    return Foreseen(
        **{
            "dataset_revision": "a" * 40,
            "task_id": "main",
            "claimed": 0.45,
            "tolerance": None,
            "spread": None,
            "mode": "sequential",
            "alpha": 0.001,
            "minimum_samples": 20,
            "maximum_failed_fraction": 0.02,
            "sample_limit": None,
            "epochs": 1,
            "history": True,
            "card_samples": None,
            **fields,
        }
    )


def runs_of(found: Foreseen, samples: int, off_by: float) -> tuple[list[int], Counter[str]]:
    """What runs on a population with that many right take and come to, by the decider that real ones stop by."""
    claim = JudgedClaim(claim_id="c", claimed=found.claimed, tolerance=found.tolerance, spread=found.spread)
    stopping = Stopping(
        claims=(claim,),
        alpha=found.alpha,
        minimum_samples=found.minimum_samples,
        maximum_failed_fraction=found.maximum_failed_fraction,
    )
    rule = stopping_rule(stopping, Population(samples=samples, epochs=found.epochs, targets_sha256="b" * 64))
    right = round((found.claimed - off_by) * samples)
    taken, verdicts = [], Counter[str]()
    for seed in range(RUNS):
        decider = SequentialDecider(rule)
        decider.feed(right_or_wrong(samples, right, seed)[: found.sample_limit])
        decisions = [finding.decision for finding in decider.findings()]
        taken.append(decider.seen)
        if decider.settled and decisions[0] == "verified":
            verdicts["verified"] += 1
        elif decider.settled and set(decisions) == {"mismatch"}:
            verdicts["mismatch"] += 1
        else:
            verdicts["inconclusive"] += 1
    return taken, verdicts


@pytest.mark.parametrize(
    "fields",
    [
        {"tolerance": 0.07},
        # Too small for its tolerance: the run goes on until the wider band has its answer too.
        {"tolerance": 0.02},
        {"tolerance": 0.07, "sample_limit": 400},
    ],
    ids=["one band", "a band in doubt", "limited"],
)
def test_the_forecast_is_what_runs_take_and_come_to(fields: dict[str, Any]) -> None:
    asked = foreseen(**fields)
    found = forecast(asked, 1000)
    assert (found.doubtful_beyond is not None) == (asked.tolerance == 0.02)
    for case in found.cases:
        taken, verdicts = runs_of(asked, 1000, case.off_by)
        # Four standard errors of the runs' mean, and the looks that the forecast leaves out.
        slack = 4 * float(np.std(taken)) / np.sqrt(RUNS) + 0.02 * case.expected.mean_samples
        assert abs(case.expected.mean_samples - np.mean(taken)) < slack, case
        for verdict, part in (
            ("verified", case.expected.verified),
            ("mismatch", case.expected.mismatch),
            ("inconclusive", case.expected.undecided),
        ):
            assert abs(verdicts[verdict] / RUNS - part) < 0.2, (case, verdicts)


def verdicts(found: Forecast) -> dict[float, str]:
    return {case.off_by: str(case.verdict) for case in found.cases}


def test_gpqa_diamond_saves_little_and_says_so() -> None:
    found = forecast(foreseen(), 198)
    assert found.tolerance == pytest.approx(0.0693, abs=1e-4)
    assert found.noise == pytest.approx(0.1288, abs=1e-4)
    assert "198 samples: early stopping saves little (82% expected)" in found.words
    assert verdicts(found) == {
        0.0: "verified",
        0.02: "verified",
        0.05: "verified",
        0.1: "inconclusive",
        0.2: "mismatch",
    }


def test_a_benchmark_too_small_for_its_tolerance_says_what_would_decide() -> None:
    found = forecast(foreseen(tolerance=0.02), 198)
    assert found.doubtful_beyond == pytest.approx(0.1338, abs=1e-4)
    assert (
        "too small for its tolerance of 2.00 points: differences up to 13.38 points may be chance;"
        " a tolerance of 13.38 points would decide"
    ) in found.words
    assert verdicts(found)[0.05] == "inconclusive"
    # A tolerance that 95 of 100 honest claims meet is worth no word.
    assert not any("too small" in words for words in forecast(foreseen(tolerance=0.1), 198).words)


def test_thirty_questions_say_how_far_off_a_claim_may_be() -> None:
    found = forecast(foreseen(), 30)
    assert (
        "so small that a claim counts as reproduced up to 17.80 points off, and as a mismatch only beyond 33.59"
        " points: honest runs differ by as much by chance"
    ) in found.words
    assert verdicts(found)[0.1] == "verified"


def outcome_of(asked: Foreseen, samples: int) -> Outcome:
    """What a run comes to that scores just what was claimed."""
    right = round(asked.claimed * samples)
    scores = right_or_wrong(samples, right)[: asked.sample_limit]
    update = {"population": samples, "sample_ids": tuple(range(len(scores))), "sample_scores": tuple(scores)}
    claim = JudgedClaim(claim_id="c", claimed=asked.claimed, tolerance=asked.tolerance)
    stopping = Stopping(
        claims=(claim,),
        alpha=asked.alpha,
        minimum_samples=asked.minimum_samples,
        maximum_failed_fraction=asked.maximum_failed_fraction,
    )
    return CompletedRun(stopping, measurement().model_copy(update=update), asked.mode).decide(claim).outcome


@pytest.mark.parametrize(
    ("fields", "samples", "why"),
    [
        ({"claimed": 0.5}, 3, "with a tolerance of 56.58 points every score there is would match"),
        ({"claimed": 0.5, "tolerance": 0.5}, 4000, "with a tolerance of 50.00 points every score there is would match"),
        ({"claimed": 1.0}, 1, "1 sample is too few to decide"),
        ({"claimed": 0.9, "sample_limit": 1}, 50, "1 sample is too few to decide"),
    ],
)
@pytest.mark.parametrize("mode", ["full", "sequential"])
def test_what_no_score_can_decide_is_foreseen_as_such(
    fields: dict[str, Any], samples: int, why: str, mode: str
) -> None:
    asked = foreseen(**fields, mode=mode)
    assert outcome_of(asked, samples) is Outcome.INCONCLUSIVE
    found = forecast(asked, samples)
    assert {case.verdict for case in found.cases} == {Outcome.INCONCLUSIVE}
    assert {case.expected.undecided for case in found.cases} == {1.0}
    assert any(words.startswith(why) for words in found.words)
    assert why in in_short(asked, samples)


@pytest.mark.parametrize("sample_limit", [None, 30, 5000])
def test_a_tolerance_of_less_than_a_sample_is_not_taken_for_a_limit(sample_limit: int | None) -> None:
    # 22 or 23 of 30 right are both further off than a point; sixteen answers to each question are not.
    asked = foreseen(claimed=0.75, tolerance=0.01, epochs=16, sample_limit=sample_limit)
    assert "limit" not in in_short(asked, 30)
    found = forecast(asked, 30)
    assert found.cases[0].verdict is Outcome.VERIFIED
    assert not any("limit" in words for words in found.words)
    assert "its limit of 10 samples will hardly decide" in in_short(asked.model_copy(update={"sample_limit": 10}), 30)


def test_a_large_benchmark_has_nothing_to_warn_of() -> None:
    found = forecast(foreseen(tolerance=0.02), 12032)
    assert found.words == ()
    assert found.cases[0].expected.mean_samples < 0.55 * 12032
    # At the very edge of the band, where a claim still matches.
    assert found.cases[1].verdict is Outcome.VERIFIED
    assert found.cases[1].expected.mean_samples > 0.95 * 12032


def test_what_was_measured_of_honest_runs_counts_for_more_than_a_coin() -> None:
    found = forecast(foreseen(tolerance=0.02, spread=0.05), 12032)
    assert found.noise == pytest.approx(0.1288)
    assert found.words[-1].endswith("a tolerance of 13.38 points would decide")


@pytest.mark.parametrize(
    ("claimed", "off_by"), [(0.0, [0.0]), (0.08, [0.0, 0.02, 0.05]), (0.2, [0, 0.02, 0.05, 0.1, 0.2])]
)
def test_truths_below_nothing_are_left_out(claimed: float, off_by: list[float]) -> None:
    found = forecast(foreseen(claimed=claimed, tolerance=0.02), 1000)
    assert [case.off_by for case in found.cases] == off_by
    assert all(0 <= case.expected.true_score <= 1 for case in found.cases)


def test_a_full_run_takes_all_samples_whatever_the_truth() -> None:
    found = forecast(foreseen(mode="full", tolerance=0.02), 1319)
    assert {case.expected.mean_samples for case in found.cases} == {1319}
    assert verdicts(found)[0.1] == "mismatch"
    limited = forecast(foreseen(mode="full", tolerance=0.02, sample_limit=100), 1319)
    assert {case.expected.mean_samples for case in limited.cases} == {100}
    assert "100% of such runs of a true claim reach their limit of 100 undecided" in limited.words


def test_a_run_that_is_not_the_first_takes_all_samples_and_stops_early_no_more_than_a_full_one() -> None:
    second, full = forecast(foreseen(every_sample=True), 198), forecast(foreseen(mode="full"), 198)
    assert second.cases == full.cases
    assert second.words == (
        "a run of this model on this benchmark was made before, so one of every sample answers this claim",
        *full.words,
    )
    assert in_short(foreseen(every_sample=True), 1319) == "all 1319 samples"
    assert samples_if_true(foreseen(every_sample=True), 1319) == 1319 > samples_if_true(foreseen(), 1319)


def test_a_limit_beyond_the_samples_limits_nothing() -> None:
    assert forecast(foreseen(sample_limit=5000), 198) == forecast(foreseen(), 198)


def test_the_clause_of_a_planned_claim_says_the_same_roughly() -> None:
    assert in_short(foreseen(), 8) == "all 8 samples"
    assert in_short(foreseen(mode="full"), 1319) == "all 1319 samples"
    assert in_short(foreseen(mode="full", sample_limit=100), 1319).startswith("100 of 1319 samples; its limit")
    for samples, fields in ((198, {}), (12032, {"tolerance": 0.02})):
        exact = forecast(foreseen(**fields), samples).cases[0].expected.mean_samples / samples
        words = in_short(foreseen(**fields), samples)
        assert words.startswith("about ")
        assert words.endswith(f"% of {samples} samples if true")
        assert abs(float(words.split()[1].rstrip("%")) / 100 - exact) < 0.05
    assert "a tolerance of 13.38 points would decide" in in_short(foreseen(tolerance=0.02), 198)


def test_claims_of_a_benchmark_share_their_rough_simulations() -> None:
    clauses = {in_short(foreseen(claimed=0.45 + n / 100_000, tolerance=0.03), 5000) for n in range(100)}
    assert len(clauses) == 1
